/** The list of runs: each with its stages and how far they are. */

import { api } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { duration, moment, percent } from "./format.js";
import { frame } from "./frame.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";

const REFRESH_MS = 5000;

export class RunsView {
  /** @param {HTMLElement} main */
  constructor(main) {
    this.list = h("ul", { class: "runs" }, h("li", { class: "loading" }));
    frame(main, t("nav.runs")).append(this.list);
    /** What is shown, as JSON: the list is drawn again only when it changes. */
    this.shown = "";
    void this.load();
    this.timer = setInterval(() => void this.load(), REFRESH_MS);
  }

  async load() {
    try {
      const { runs } = await api.runs();
      const state = JSON.stringify(runs);
      if (state === this.shown) return;
      this.shown = state;
      fill(this.list, runs.length ? runs.map(runRow) : h("li", {}, empty()));
    } catch (error) {
      if (!this.shown)
        fill(
          this.list,
          h(
            "li",
            {},
            problem(error, () => void this.load()),
          ),
        );
    }
  }

  close() {
    clearInterval(this.timer);
  }
}

function empty() {
  return h(
    "div",
    { class: "empty" },
    icon("runs"),
    h("h2", {}, t("runs.empty")),
    h("p", {}, h("code", {}, "jielong run quickstart")),
  );
}

/** @param {RunSummary} run */
function runRow(run) {
  return h(
    "li",
    { class: "run" },
    h(
      "div",
      { class: "run-head" },
      h("a", { href: `#/runs/${encodeURIComponent(run.name)}` }, run.name),
      stateMark(run.state),
      h("span", { class: "hint" }, moment(run.updated)),
    ),
    h("p", { class: "hint" }, t("runs.made", { recipe: run.recipe, size: run.size, seed: String(run.seed) })),
    stageStrip(run.stages),
  );
}

/** @param {string} state */
export function stateMark(state) {
  const known = /** @type {const} */ (["running", "finished", "stopped", "waiting", "failed"]).find(
    (one) => one === state,
  );
  return h("span", { class: `state ${state}` }, known ? t(`runs.${known}`) : state);
}

/** @param {StageSummary[]} stages */
export function stageStrip(stages) {
  return h(
    "ol",
    { class: "stages" },
    ...stages.map((stage) => {
      const share = stage.progress ?? (stage.state === "finished" ? 1 : 0);
      const bar = h("i", { class: stage.state });
      bar.style.width = `${100 * share}%`;
      const told = stage.state === "running" ? percent(share) : stage.seconds === null ? "" : duration(stage.seconds);
      return h(
        "li",
        { title: stage.kind },
        h("span", { class: "stage-name" }, stage.name),
        h("span", { class: "stage-told" }, told),
        h("span", { class: "bar", "aria-hidden": "true" }, bar),
      );
    }),
  );
}

/** One run: its stages with their curves and samples, growing while it is trained, its family, and its report. */

import { api } from "./api.js";
import { Chart } from "./curves.js";
import { fill, h } from "./dom.js";
import { frame } from "./frame.js";
import { problem } from "./notice.js";
import { stageStrip, stateMark } from "./runs.js";
import { t } from "./strings.js";

/** Metrics that share a chart, in the order in which charts stand; all others follow by name. */
const GROUPS = [["loss", "held_out_loss"], ["score"], ["kl"], ["grad_norm"], ["lr"], ["tokens_per_s"]];
const NUM_SHOWN = 2;
const RETRY_MS = 2000;

/** @typedef {StageDetail & Partial<StageSummary>} Stage */

export class RunView {
  /**
   * @param {HTMLElement} main
   * @param {string} name
   */
  constructor(main, name) {
    this.name = name;
    /** @type {Map<string, StageView>} */
    this.stages = new Map();
    this.timer = 0;
    this.beside = h("span", { class: "row" });
    this.column = frame(main, name, [this.beside]);
    this.column.append(h("div", { class: "loading" }));
    void this.load();
  }

  async load() {
    try {
      const run = await api.run(this.name);
      this.draw(run);
    } catch (error) {
      fill(
        this.column,
        problem(error, () => void this.load()),
      );
    }
  }

  /** @param {RunDetail & Partial<Omit<RunSummary, "stages">>} run */
  draw(run) {
    const report = `#/runs/${encodeURIComponent(this.name)}/report`;
    fill(
      this.beside,
      run.state ? stateMark(run.state) : null,
      run.has_report ? h("a", { class: "button", href: report }, t("run.report")) : null,
    );
    this.stages = new Map(run.stages.map((stage) => [stage.name, new StageView(stage)]));
    fill(
      this.column,
      run.recipe
        ? h(
            "p",
            { class: "hint" },
            t("runs.made", { recipe: run.recipe, size: run.size ?? "", seed: String(run.seed) }),
          )
        : null,
      ...[...this.stages.values()].map((stage) => stage.element),
      run.family.length > 1 ? h("section", {}, h("h2", {}, t("run.family")), this.family(run.family)) : null,
    );
    this.listen();
  }

  listen() {
    this.source?.close();
    const source = new EventSource(api.runEventsUrl(this.name));
    this.source = source;
    source.onerror = () => {
      // refused, as after a restart of the server; where it is only away, the browser connects again by itself
      if (source.readyState === EventSource.CLOSED) this.timer = window.setTimeout(() => void this.load(), RETRY_MS);
    };
    /** @param {string} name @param {(stage: StageView, data: any) => void} take */
    const on = (name, take) =>
      this.source?.addEventListener(name, (event) => {
        const data = JSON.parse(event.data);
        const stage = this.stages.get(data.stage ?? data.name);
        if (stage) take(stage, data);
      });
    on("metrics", (stage, { metrics }) => stage.addPoints(metrics));
    on("stage", (stage, data) => stage.setState(data));
    on("samples", (stage, { samples }) => stage.takeSamples(samples));
  }

  /**
   * The stages as a tree: each below the last one that it was made from, or the last of those that were trained.
   *
   * @param {RunDetail["family"]} all
   */
  family(all) {
    const order = [...this.stages.keys()];
    /** @param {string} name */
    const rank = (name) => order.indexOf(name) + (this.stages.get(name)?.charts.size ? order.length : 0);
    /** @type {Map<string, string>} */
    const parents = new Map();
    for (const { name, parent } of all) {
      const known = parents.get(name);
      if (known === undefined || rank(parent) > rank(known)) parents.set(name, parent);
    }
    /** @param {string} name */
    const link = (name) => {
      const show = () => this.stages.get(name)?.element.scrollIntoView({ block: "start" });
      return h("button", { type: "button", class: "link", onclick: show }, name);
    };
    /** @param {string} parent @returns {HTMLUListElement | null} */
    const below = (parent) => {
      const children = [...parents.keys()].filter((name) => parents.get(name) === parent);
      if (children.length === 0) return null;
      return h("ul", {}, ...children.map((name) => h("li", {}, link(name), below(name))));
    };
    return h("div", { class: "family" }, below(""));
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }
}

/** One stage of a run. */
class StageView {
  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    /** @type {Map<string, Chart>} */
    this.charts = new Map();
    this.head = h("div", { class: "stage-head" });
    this.plots = h("div", { class: "charts" });
    this.more = h("div", { class: "charts" });
    this.folded = h("details", { class: "more-charts" }, h("summary", {}, t("run.more_curves")), this.more);
    this.samples = h("div", { class: "samples" });
    this.element = h("section", { class: "stage" }, this.head, this.plots, this.folded, this.samples);
    this.drawHead();
    this.drawCharts();
    this.drawSamples();
  }

  drawHead() {
    const { name, state, lineage, progress = null, seconds = null, kind = "" } = this.stage;
    fill(
      this.head,
      h("h2", {}, name),
      stateMark(state),
      lineage ? h("span", { class: "hint" }, lineage) : null,
      state === "running" ? stageStrip([{ name: t("run.progress"), kind, state, progress, seconds }]) : null,
    );
  }

  drawCharts() {
    const { metrics } = this.stage;
    const known = GROUPS.flat();
    const others = Object.keys(metrics)
      .filter((name) => !known.includes(name))
      .sort();
    for (const group of [...GROUPS, ...others.map((name) => [name])]) {
      const series = group
        .filter((name) => metrics[name]?.length)
        .map((name) => ({ name: title(name), points: metrics[name] }));
      if (series.length === 0) continue;
      const chart = this.charts.get(group[0]);
      if (chart) {
        chart.update(series);
        continue;
      }
      const fresh = new Chart(title(group[0]), series);
      this.charts.set(group[0], fresh);
      (this.charts.size <= NUM_SHOWN ? this.plots : this.more).append(fresh.element);
    }
    this.folded.hidden = this.more.children.length === 0;
  }

  drawSamples() {
    const { samples } = this.stage;
    this.samples.hidden = samples.length === 0;
    const byPrompt = Map.groupBy(samples, (sample) => sample.prompt);
    fill(
      this.samples,
      ...[...byPrompt].map(([prompt, ones]) =>
        h(
          "details",
          { open: true },
          h("summary", {}, t("run.sample", { prompt })),
          h(
            "dl",
            {},
            ...ones.map((one) => h("div", {}, h("dt", {}, t("chart.step", { n: one.step })), h("dd", {}, one.text))),
          ),
        ),
      ),
    );
  }

  /**
   * Take points of steps that are not there yet: a new connection tells all of them again.
   *
   * @param {Record<string, Points>} metrics
   */
  addPoints(metrics) {
    let is_news = false;
    for (const [name, points] of Object.entries(metrics)) {
      const known = (this.stage.metrics[name] ??= []);
      const last = known.at(-1)?.[0] ?? -1;
      const fresh = points.filter(([step]) => step > last);
      known.push(...fresh);
      is_news ||= fresh.length > 0;
    }
    if (is_news) this.drawCharts();
  }

  /** @param {RunSample[]} samples all there are */
  takeSamples(samples) {
    if (samples.length === this.stage.samples.length) return;
    this.stage.samples = samples;
    this.drawSamples();
  }

  /** @param {Partial<Stage>} data */
  setState(data) {
    Object.assign(this.stage, data);
    this.drawHead();
  }
}

/** @param {string} name */
const title = (name) => name.replaceAll("_", " ");

/** The report of a run, in a frame that runs no script. */
export class ReportView {
  /**
   * @param {HTMLElement} main
   * @param {string} name
   */
  constructor(main, name) {
    const back = h("a", { class: "button", href: `#/runs/${encodeURIComponent(name)}` }, t("run.back"));
    const column = frame(main, name, [back]);
    column.classList.add("wide-column");
    column.append(
      h("iframe", { class: "report", src: api.reportUrl(name), sandbox: "allow-popups", title: t("run.report") }),
    );
  }

  close() {}
}

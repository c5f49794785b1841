/**
 * One prompt to several models, side by side. The last model's answer is read by all the others too: each of its tokens is
 * coloured by how far a model's distribution there is from the last model's (KL, in nats).
 */

import { ComparedColumn, NATS, positions } from "./compared.js";
import { fill, h } from "./dom.js";
import { frame } from "./frame.js";
import { compare } from "./lines.js";
import { problem } from "./notice.js";
import { modelNamed, page } from "./state.js";
import { t } from "./strings.js";

export class CompareView {
  /** @param {HTMLElement} main */
  constructor(main) {
    /** The models to ask, in their order. @type {string[]} */
    this.chosen = firstChoice();
    /** @type {ComparedColumn[]} */
    this.columns = [];
    this.models = h("div", { class: "choices", role: "group", "aria-label": t("compare.models") });
    this.prompt = h("textarea", { class: "field grow", rows: 2, id: "compare-prompt", required: true });
    this.prompt.value = sessionStorage.getItem("jielong.compare") ?? "";
    this.system = h("input", { class: "field", id: "compare-system" });
    this.max = h("input", { class: "field", id: "compare-max", type: "number", min: 1, max: 2048, value: 64 });
    this.go = h("button", { class: "button primary" }, t("compare.go"));
    this.answers = h("div", { class: "compared" });
    this.legend = legend();
    this.detail = h("section", { class: "aligned", "aria-live": "polite", "aria-label": t("compare.aligned") });
    const form = h(
      "form",
      { class: "compare-form", onsubmit: (/** @type {Event} */ event) => this.onSubmit(event) },
      h("p", { class: "label" }, t("compare.models")),
      this.models,
      h("label", { for: "compare-prompt" }, t("compare.prompt")),
      this.prompt,
      h(
        "details",
        {},
        h("summary", {}, t("compare.more")),
        h(
          "div",
          { class: "settings" },
          setting(t("sampling.system"), this.system),
          setting(t("sampling.max_tokens"), this.max),
        ),
      ),
      h("div", { class: "row" }, this.go, h("p", { class: "hint" }, t("compare.hint"))),
    );
    this.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    const column = frame(main, t("nav.compare"));
    column.classList.add("wide-column");
    fill(column, form, this.legend, this.answers, this.detail);
    this.drawModels();
  }

  drawModels() {
    fill(
      this.models,
      page.server.models.map((model) => {
        const place = this.chosen.indexOf(model.name);
        return h(
          "button",
          { type: "button", class: "pill", "aria-pressed": String(place >= 0), onclick: () => this.toggle(model.name) },
          place >= 0 ? h("span", { class: "order" }, place + 1) : null,
          h("span", { class: "value" }, model.title),
        );
      }),
    );
    this.go.disabled = this.chosen.length === 0;
  }

  /** @param {string} name */
  toggle(name) {
    const place = this.chosen.indexOf(name);
    if (place >= 0) this.chosen.splice(place, 1);
    else this.chosen.push(name);
    this.drawModels();
    const index = page.server.models.findIndex((model) => model.name === name);
    /** @type {HTMLElement} */ (this.models.children[index]).focus();
  }

  /** @param {Event} event */
  async onSubmit(event) {
    event.preventDefault();
    const prompt = this.prompt.value.trim();
    if (!prompt) return;
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    sessionStorage.setItem("jielong.compare", prompt);
    const models = [...this.chosen];
    this.columns = models.map((name) => new ComparedColumn(name, modelNamed(name)?.title ?? name, (n) => this.show(n)));
    fill(this.answers, ...this.columns.map((column) => column.element));
    fill(this.detail);
    this.legend.hidden = true;
    const question = {
      models,
      prompt,
      system: this.system.value || undefined,
      max_tokens: Number(this.max.value) || undefined,
    };
    try {
      for await (const { name, data } of compare(question, asking.signal)) this.take(name, data);
    } catch (error) {
      if (!asking.signal.aborted) fill(this.detail, problem(error));
    }
    if (asking.signal.aborted) return;
    for (const column of this.columns) column.end();
    this.drawReadings();
  }

  /** @param {string} name @param {any} data */
  take(name, data) {
    const column = this.columns.find((one) => one.name === data.model);
    if (name === "answer") column?.take(data);
    if (name === "error") column?.fail(data.message);
  }

  /** Show how each model read the last model's answer, once that is there. */
  drawReadings() {
    const last = this.columns.at(-1);
    if (!last?.answer) return;
    for (const column of this.columns) column.drawReading(last.answer, column === last);
    this.legend.hidden = !this.columns.some((column) => column.answer?.reading);
  }

  /**
   * Show what all models said of token n of the last answer, aligned.
   *
   * @param {number} n
   */
  show(n) {
    for (const column of this.columns) column.mark(n);
    const last = this.columns.at(-1)?.answer;
    if (last) fill(this.detail, positions(this.columns, last, n));
  }

  close() {
    this.asking?.abort();
  }
}

/** @param {string} label @param {HTMLInputElement} input */
function setting(label, input) {
  return h("div", { class: "setting" }, h("label", { for: input.id }, label), input);
}

function legend() {
  const steps = ["0", ...NATS.map(String)].map((mark, place) => h("span", { class: `t s${place}` }, mark));
  const element = h(
    "p",
    { class: "compare-legend", dataset: { colour: "surprise" } },
    t("compare.legend"),
    " ",
    h("span", { class: "steps" }, ...steps, h("small", {}, t("nats"))),
  );
  element.hidden = true;
  return element;
}

/** Three models of this machine; of a run its stages, as the run itself is the last of them. */
function firstChoice() {
  const names = page.server.models.filter((model) => model.kind === "local").map((model) => model.name);
  return names.filter((name) => !names.some((other) => other.startsWith(`${name}:`))).slice(0, 3);
}

/**
 * What there is to learn from, and the button that learns from it: an attempt trains beside the chats, is compared, and asks
 * the person; it is kept only where it is better. A server that does not offer it shows the counts alone.
 */

import { api, ApiError } from "./api.js";
import { confirmed } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { duration, listed, moment, percent, short, size } from "./format.js";
import { problem } from "./notice.js";
import { emit, modelNamed } from "./state.js";
import { language, t } from "./strings.js";

const AT_WORK = ["training", "comparing", "asking"];
const KINDS = /** @type {const} */ (["preference", "rating", "ranking", "demonstration"]);

export class LearnPanel {
  /** @param {() => void} onAsking  deciding pairs have come, or are over */
  constructor(onAsking) {
    this.onAsking = onAsking;
    /** @type {LearnState | null} */
    this.state = null;
    this.base = "";
    this.counts = h("p", { class: "counts" });
    this.sides = h("p", { class: "hint" });
    this.models = h("div", { class: "strengths" });
    this.told = h("div", { class: "told" });
    /** @type {EventSource | undefined} */
    this.source = undefined;
    this.errors = h("div", {});
    this.element = h(
      "section",
      { class: "learn", "aria-label": t("learn.title") },
      ...[this.counts, this.sides, this.models, this.told, this.errors],
    );
    void this.count();
  }

  /**
   * Show what this model can learn, where it is on this machine.
   *
   * @param {string} base
   */
  open(base) {
    if (base === this.base) return;
    this.close();
    this.base = base;
    this.state = null;
    fill(this.told);
    if (modelNamed(base)?.kind === "local") void this.load();
  }

  /** The attempt whose pairs wait for the person. */
  get asking() {
    const attempt = this.state?.attempt;
    return attempt?.state === "asking" ? attempt : null;
  }

  async count() {
    try {
      const { num, counts, blind, models } = await api.judgementStats();
      const kinds = KINDS.filter((kind) => counts[kind]).map((kind) => t(`learn.kind.${kind}`, { n: counts[kind] }));
      fill(this.counts, num ? t("learn.kinds", { n: num, kinds: listed(kinds) }) : t("learn.none"));
      const num_blind = Object.values(blind).reduce((sum, one) => sum + one, 0);
      fill(this.sides, num_blind ? t("learn.sides", blind) : "");
      fill(this.models, ...models.map(strengths));
    } catch (error) {
      fill(this.counts, problem(error));
    }
  }

  /** The model that learns: of one that was learned itself its base, which stays when that is undone. */
  get learner() {
    return this.state?.base ?? this.base;
  }

  async load() {
    const { base } = this;
    try {
      const state = await api.learning(this.learner);
      if (base !== this.base) return;
      this.take(state);
      this.listen();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) fill(this.errors, problem(error));
    }
  }

  listen() {
    if (this.source) return;
    this.source = new EventSource(api.learnEventsUrl(this.learner));
    this.source.addEventListener("learn", (event) => this.take(JSON.parse(event.data)));
  }

  /** @param {LearnState} state */
  take(state) {
    const was_asking = this.asking?.id;
    const was_standing = JSON.stringify(this.state?.standing);
    const was_promoted = this.state?.attempt?.state === "promoted";
    const is_first = this.state === null;
    this.state = state;
    this.draw();
    if (was_asking !== this.asking?.id) this.onAsking();
    // a vote may promote an attempt before the server says what stands now
    const is_promoted = !was_promoted && state.attempt?.state === "promoted";
    const is_changed = is_promoted || was_standing !== JSON.stringify(state.standing);
    if (!is_first && is_changed) emit("models"); // another model is offered now
  }

  /** @param {Attempt} attempt */
  takeAttempt(attempt) {
    if (this.state) this.take({ ...this.state, attempt });
  }

  // Drawing -------------------------------------------------------------------------------------------------------------

  draw() {
    const { state } = this;
    if (!state) return;
    const { attempt, advice_told, history } = state;
    const is_at_work = attempt !== null && AT_WORK.includes(attempt.state);
    const focused = document.activeElement?.getAttribute("data-act");
    const opened = [...this.told.querySelectorAll("details[open]")].map((one) => one.className);
    fill(
      this.told,
      attempt ? this.attempt(attempt, Boolean(history.find((one) => one.id === attempt.id)?.is_undone)) : null,
      h(
        "div",
        { class: "learn-act" },
        is_at_work ? null : h("p", {}, advice_told[language()]),
        is_at_work ? this.steering(attempt) : this.starting(state),
      ),
      earlier(history.filter((one) => one.id !== attempt?.id)),
    );
    for (const one of this.told.querySelectorAll("details")) one.open = opened.includes(one.className);
    if (focused && this.told.isConnected)
      /** @type {HTMLElement | null} */ (this.told.querySelector(`[data-act="${focused}"]`))?.focus();
  }

  /** @param {Attempt} attempt @param {boolean} is_undone */
  attempt(attempt, is_undone) {
    const { state, progress, eta_s, memory_bytes, pairs } = attempt;
    const why = attempt.why_told[language()];
    const is_training = state === "training" || state === "comparing";
    const { asked: n = 0, least = 0, most = 0 } = pairs ?? {};
    const facts = [
      t("learn.of", { base: attempt.base, method: attempt.method }),
      ...(attempt.is_paused ? [t("learn.paused")] : []),
      ...(is_training && eta_s ? [t("learn.eta", { time: duration(eta_s) })] : []),
      ...(is_training && memory_bytes ? [t("learn.memory", { size: size(memory_bytes) })] : []),
    ];
    const class_name = { promoted: "finished", refused: "stopped", failed: "failed" }[/** @type {string} */ (state)];
    return h(
      "div",
      { class: "attempt" },
      h(
        "p",
        { class: "attempt-head" },
        h(
          "span",
          { class: `state ${class_name ?? "running"}` },
          t(is_undone ? "learn.undone" : `learn.state.${state}`),
        ),
        h("span", { class: "hint" }, facts.join(" · ")),
      ),
      state === "training" || state === "comparing" || state === "asking"
        ? h("p", {}, t(`learn.says.${state}`, { n, least, most }))
        : null,
      is_training ? h("progress", { max: 1, value: progress, "aria-label": t("learn.progress") }) : null,
      why ? h("p", { class: "why" }, why) : null,
      figures(attempt),
    );
  }

  /** @param {Attempt} attempt */
  steering(attempt) {
    const is_training = attempt.state === "training" || attempt.state === "comparing";
    const act = attempt.is_paused ? "resume" : "pause";
    return h(
      "div",
      { class: "row" },
      is_training ? this.button("pause", t(`learn.${act}`), () => api.steerLearning(attempt.id, act)) : null,
      this.button("cancel", t("learn.cancel"), () => api.steerLearning(attempt.id, "cancel")),
    );
  }

  /** @param {LearnState} state */
  starting(state) {
    const undo = async () => {
      if (!(await confirmed(t("learn.undo_sure"), t("learn.undo")))) return;
      await api.undoLearning(this.learner);
    };
    const start = this.button("go", t("learn.go"), () => api.learn(this.learner));
    start.classList.add("primary");
    start.disabled = !state.is_enough;
    return h("div", { class: "row" }, state.standing ? this.button("undo", t("learn.undo"), undo) : null, start);
  }

  /** @param {string} name @param {string} label @param {() => Promise<unknown>} act */
  button(name, label, act) {
    const onclick = async () => {
      fill(this.errors);
      try {
        await act();
        await this.load();
      } catch (error) {
        fill(this.errors, problem(error));
      }
    };
    return h("button", { type: "button", class: "button", dataset: { act: name }, onclick }, label);
  }

  close() {
    this.source?.close();
    this.source = undefined;
  }
}

/**
 * How strong models are by the votes: the share that each has won, and its strength with a 95% interval.
 *
 * @param {ModelGroup} group
 */
function strengths({ models, reference }) {
  const heads = [t("bar.model"), t("strength.compared"), t("strength.won"), t("strength.strength")];
  const rows = models.map(({ name, comparisons, won, strength: { mean, low, high } }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, modelNamed(name)?.title ?? name),
      h("td", {}, short(comparisons)),
      h("td", {}, percent(won)),
      h(
        "td",
        {},
        name === reference ? t("strength.reference") : `${bound(mean)} (${bound(low, "−∞")} – ${bound(high, "∞")})`,
      ),
    ),
  );
  return h(
    "div",
    { class: "wide-table", tabindex: 0, role: "region", "aria-label": t("strength.title") },
    h(
      "table",
      {},
      h("caption", {}, t("strength.title")),
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows),
    ),
  );
}

/** @param {number | null} value @param {string} [none] */
function bound(value, none = "?") {
  return value === null ? none : value.toFixed(2).replace("-", "−");
}

/** @param {Attempt} attempt */
function figures({ figures: found, pairs, state }) {
  if (AT_WORK.includes(state)) return null; // whoever votes should not know them
  const votes = pairs ? { won: pairs.won, lost: pairs.lost, tied: pairs.tied } : {};
  const rows = Object.entries({ ...found, ...votes }).filter(([, value]) =>
    ["number", "string"].includes(typeof value),
  );
  if (rows.length === 0) return null;
  return h(
    "details",
    { class: "all-figures" },
    h("summary", {}, t("learn.figures")),
    h(
      "dl",
      { class: "figures" },
      ...rows.map(([name, value]) =>
        h(
          "div",
          {},
          h("dt", {}, name.replaceAll("_", " ")),
          h("dd", {}, typeof value === "number" ? short(value) : String(value)),
        ),
      ),
    ),
  );
}

/** @param {LearnState["history"]} history */
function earlier(history) {
  if (history.length === 0) return null;
  const rows = history.map(({ started, method, state, why_told, is_undone }) =>
    h(
      "li",
      {},
      h("span", { class: "hint" }, moment(started)),
      ` ${method}: ${t(is_undone ? "learn.undone" : `learn.state.${state}`)}. ${why_told[language()]}`,
    ),
  );
  return h(
    "details",
    { class: "earlier" },
    h("summary", {}, t("learn.history")),
    h("ul", { class: "history" }, ...rows),
  );
}

/**
 * Answers coloured token by token: by surprise, probability or entropy. Each token has its step on all three scales as
 * classes, so changing the scale is one attribute on the page. Tokens are built only for answers that come into view.
 */

import { api } from "./api.js";
import { h, iconButton } from "./dom.js";
import { choices, choose, emit, on } from "./state.js";
import { t } from "./strings.js";
import { tokenButton } from "./tokens.js";
import { toggleLens } from "./topbar.js";

/** @typedef {import("./answer.js").AnswerView} AnswerView */

/** Where the steps of a scale begin; a value below the first is step 0, which has no colour. */
const SCALES = {
  surprise: { from: [1, 2, 4, 6, 9], marks: ["0", "1", "2", "4", "6", "9"], unit: "bits" },
  probability: { from: [], marks: ["100%", "80%", "50%", "20%", "5%", "1%"], unit: "" },
  entropy: { from: [0.5, 1, 2, 3, 5], marks: ["0", "0.5", "1", "2", "3", "5"], unit: "bits" },
};
const LIKELY = [0.8, 0.5, 0.2, 0.05, 0.01];

/** So long must an answer stay in view for its tokens to be built: one that flies by while a person scrolls keeps its text. */
const STAY_MS = 150;

/** @param {number} value @param {number[]} from */
const step = (value, from) => from.filter((start) => value >= start).length;

/** @param {LiveToken} token */
function classes(token) {
  const surprise = -Math.log2(Math.max(token.p, 1e-12));
  const likely = LIKELY.filter((start) => token.p < start).length;
  return `t s${step(surprise, SCALES.surprise.from)} p${likely} e${step(token.entropy, SCALES.entropy.from)}`;
}

/** The token that a span shows, so that only what changed is built again. @type {WeakMap<Element, string>} */
const built = new WeakMap();

/**
 * Show tokens in an element. Those that stand there already are kept, so a growing answer only gets its new ones.
 *
 * @param {HTMLElement} body
 * @param {LiveToken[]} tokens
 * @param {number} chosen  the number of a token that a person has chosen, or -1
 */
export function colourTokens(body, tokens, chosen) {
  if (!body.classList.contains("tokens")) {
    body.className = "text tokens";
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", t("lens.tokens"));
    body.replaceChildren();
  }
  while (body.children.length > tokens.length) body.lastElementChild?.remove();
  const fresh = document.createDocumentFragment();
  tokens.forEach((token, place) => {
    const kind = kindOf(token, token.n === chosen);
    const state = `${token.n} ${kind} ${token.text}`;
    const old = body.children[place];
    if (old && built.get(old) === state) return;
    const element = span(token, kind);
    built.set(element, state);
    if (!old) return fresh.append(element);
    const had_focus = old === document.activeElement;
    if (old.classList.contains("selected")) element.classList.add("selected");
    element.tabIndex = /** @type {HTMLElement} */ (old).tabIndex;
    old.replaceWith(element);
    if (had_focus) element.focus();
  });
  body.append(fresh);
  const first = /** @type {HTMLElement | null} */ (body.querySelector(".t"));
  if (first && !body.querySelector(".t[tabindex='0']")) first.tabIndex = 0;
}

/** @param {LiveToken} token @param {boolean} is_chosen */
function kindOf(token, is_chosen) {
  const is_special = "is_special" in token && token.is_special;
  const by_model = !("by_model" in token) || token.by_model;
  return `${by_model ? classes(token) : "t foreign"}${is_special ? " special" : ""}${is_chosen ? " chosen" : ""}`;
}

/** @param {LiveToken} token @param {string} kind */
function span(token, kind) {
  return tokenButton(token.text, { class: kind, tabindex: -1, dataset: { n: token.n } });
}

/** Watches which answers are in view, and gives them their tokens while the lens is on. */
export class ColourWatch {
  /** @param {AbortSignal} ending */
  constructor(ending) {
    /** @type {Map<Element, AnswerView>} */
    this.views = new Map();
    /** The answers in view, and since when. @type {Map<Element, number>} */
    this.seen = new Map();
    /** Those of them that wait for their tokens. @type {Set<Element>} */
    this.waiting = new Set();
    this.is_building = false;
    this.observer = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "300px" });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": t("lens.legend") });
    this.drawLegend();
    on("lens", () => this.drawAll(), ending);
    ending.addEventListener("abort", () => {
      this.observer.disconnect();
      this.waiting.clear();
    });
  }

  /** @param {AnswerView[]} views */
  watch(views) {
    for (const view of views) {
      if (!this.views.has(view.element)) {
        this.views.set(view.element, view);
        this.observer.observe(view.element);
      } else if (this.seen.has(view.element)) {
        void this.show(view);
      }
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      this.waiting.delete(target);
      if (isIntersecting) this.seen.set(target, performance.now());
      else this.seen.delete(target);
      if (isIntersecting && choices.lens) this.waiting.add(target);
    }
    void this.build();
  }

  /** Give the answers that wait their tokens, one in a frame. */
  async build() {
    if (this.is_building) return;
    this.is_building = true;
    for (const element of this.waiting) {
      const view = this.views.get(element);
      const left_ms = (this.seen.get(element) ?? 0) + STAY_MS - performance.now();
      if (left_ms > 0) await new Promise((resolve) => setTimeout(resolve, left_ms));
      if (this.waiting.delete(element) && view) await this.show(view);
      await new Promise(requestAnimationFrame);
    }
    this.is_building = false;
  }

  /** @param {AnswerView} view */
  async show(view) {
    const { turn } = view;
    if (!choices.lens) return view.showTokens(null);
    if (turn.status === "writing") return view.showTokens([]);
    if (!turn.has_tokens || (view.tokens?.length && view.tokens_of === turn)) return;
    try {
      const { tokens } = await api.colours(turn.id);
      if (!choices.lens || view.turn !== turn) return;
      view.tokens_of = turn;
      view.showTokens(tokens);
    } catch {
      view.showTokens(null); // the text is there all the same, and the panel says why when it is asked
    }
  }

  drawAll() {
    this.drawLegend();
    if (choices.lens) for (const element of this.seen.keys()) this.waiting.add(element);
    else for (const view of this.views.values()) void this.show(view);
    void this.build();
  }

  drawLegend() {
    document.body.dataset.colour = choices.lens ? choices.colour : "";
    this.legend.hidden = !choices.lens;
    const scale = SCALES[choices.colour];
    const names = /** @type {(keyof typeof SCALES)[]} */ (Object.keys(SCALES));
    const kinds = names.map((name) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(name === choices.colour),
          onclick: () => {
            choose({ colour: name });
            emit("lens");
            /** @type {HTMLElement | null} */ (this.legend.querySelector("[aria-pressed=true]"))?.focus();
          },
        },
        t(`lens.${name}`),
      ),
    );
    const letter = choices.colour[0];
    const steps = scale.marks.map((mark, place) => h("span", { class: `t ${letter}${place}` }, mark));
    this.legend.replaceChildren(
      h("span", { class: "kinds" }, ...kinds),
      h(
        "span",
        { class: "steps", title: t(`lens.${choices.colour}.meaning`) },
        ...steps,
        scale.unit ? h("small", {}, t("bits")) : "",
      ),
      h("span", { class: "grow" }),
      iconButton("close", t("lens.turn_off"), toggleLens),
    );
  }
}

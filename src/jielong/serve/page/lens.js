/**
 * The lens: a panel about one token of an answer, with how it was drawn, between which others, and from what the model
 * came to it layer by layer. Arrow keys go from token to token, Enter goes into the panel, Escape back to the token.
 */

import { api } from "./api.js";
import { candidates, cutsLine } from "./candidates.js";
import { dice } from "./dice.js";
import { fill, h, iconButton } from "./dom.js";
import { count, short } from "./format.js";
import { layers, toolChance } from "./layers.js";
import { problem } from "./notice.js";
import { modelNamed } from "./state.js";
import { t } from "./strings.js";
import { loneToken } from "./tokens.js";

const MOST_KEPT = 60;

/**
 * @typedef {object} LensActions
 * @property {(answer: string, n: number, token: number) => void} branch  let the answer go on from another token
 * @property {(answer: string) => boolean} isWriting
 */

export class LensPanel {
  /**
   * @param {HTMLElement} aside
   * @param {LensActions} actions
   */
  constructor(aside, actions) {
    this.aside = aside;
    this.actions = actions;
    /** @type {Map<string, Promise<Lens>>} */
    this.kept = new Map();
    this.answer = "";
    this.n = -1;
    this.has_layers = false;
    /** Whether a part that is folded was opened; it stays so from token to token. @type {Record<string, boolean>} */
    this.is_open = {};
    aside.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    };
  }

  /**
   * The tokens of an answer, fetched once.
   *
   * @param {string} answer
   */
  of(answer) {
    const known = this.kept.get(answer);
    if (known) return known;
    const asked = api.tokens(answer);
    asked.catch(() => this.kept.delete(answer));
    this.kept.set(answer, asked);
    if (this.kept.size > MOST_KEPT) this.kept.delete([...this.kept.keys()][0]);
    return asked;
  }

  /** @param {string} answer */
  forget(answer) {
    this.kept.delete(answer);
  }

  /**
   * Listen to tokens in the conversation: a click opens the panel, arrow keys move, Enter opens and goes in.
   *
   * @param {HTMLElement} conversation
   */
  attend(conversation) {
    conversation.addEventListener("tokens", () => this.mark(!this.aside.hidden));
    conversation.addEventListener("click", (event) => {
      const span = tokenAt(event.target);
      if (span) this.point(span);
    });
    conversation.addEventListener("keydown", (event) => {
      const span = tokenAt(event.target);
      if (!span) return;
      if (event.key === "Enter" || event.key === " ") {
        this.point(span);
        this.aside.focus();
      } else {
        const next = neighbour(span, event.key);
        if (!next) return;
        if (this.aside.hidden) focusToken(span, next);
        else this.point(next, span);
      }
      event.preventDefault();
    });
  }

  /** @param {HTMLElement} span @param {HTMLElement} [before] the token that had the focus */
  point(span, before) {
    focusToken(before ?? this.span, span);
    const answer = span.closest("[data-turn]")?.getAttribute("data-turn") ?? "";
    void this.show(answer, Number(span.dataset.n));
  }

  /** The token on the page that the panel is about. */
  get span() {
    return /** @type {HTMLElement | null} */ (
      document.querySelector(`#turn-${CSS.escape(this.answer)} [data-n="${this.n}"]`)
    );
  }

  /**
   * Show a token in the panel.
   *
   * @param {string} answer
   * @param {number} n
   */
  async show(answer, n) {
    this.mark(false);
    Object.assign(this, { answer, n });
    this.mark(true);
    this.aside.hidden = false;
    document.body.classList.add("lens-open");
    this.span?.scrollIntoView({ block: "nearest" }); // on a phone the panel has just covered half of the page
    if (this.actions.isWriting(answer))
      return this.draw(this.head(h("h2", {}, t("lens.title"))), h("p", {}, t("lens.waits")));
    try {
      const data = await this.of(answer);
      const token = data.tokens.find((one) => one.n === n);
      this.has_layers = modelNamed(data.model)?.has_layers ?? false;
      if (this.answer !== answer || this.n !== n) return; // another token was chosen while this was fetched
      if (token) this.draw(...this.panel(data, token));
    } catch (error) {
      this.draw(
        this.head(h("h2", {}, t("lens.title"))),
        problem(error, () => void this.show(answer, n)),
      );
    }
  }

  /**
   * Replace what the panel holds; a button that had the focus has it again.
   *
   * @param {...(Node | null)} content
   */
  draw(...content) {
    const focused = this.aside.contains(document.activeElement)
      ? document.activeElement?.getAttribute("aria-label")
      : null;
    fill(this.aside, ...content);
    if (!focused) return;
    const again = /** @type {HTMLElement | null} */ (
      this.aside.querySelector(`button[aria-label="${CSS.escape(focused)}"]`)
    );
    (again ?? this.aside).focus();
  }

  /** @param {boolean} is_shown */
  mark(is_shown) {
    this.span?.classList.toggle("selected", is_shown);
  }

  /** @param {HTMLElement} title */
  head(title) {
    const { span } = this;
    /** @param {string} key */
    const go = (key) => {
      const next = span && neighbour(span, key);
      if (next) void this.show(this.answer, Number(next.dataset.n));
      if (next) next.scrollIntoView({ block: "nearest" });
    };
    return h(
      "header",
      { class: "lens-head" },
      title,
      iconButton("left", t("lens.previous"), () => go("ArrowLeft")),
      iconButton("right", t("lens.next"), () => go("ArrowRight")),
      iconButton("close", t("lens.close"), () => this.close()),
    );
  }

  /**
   * @param {Lens} data
   * @param {Token} token
   */
  panel(data, token) {
    const facts = [
      t("lens.place", { n: token.n + 1, of: data.tokens.length }),
      t("token.id", { id: token.id }),
      ...(token.by_model
        ? [
            t("lens.rank", { n: token.rank }),
            t("lens.bits", { n: short(token.surprise) }),
            t("lens.spread", { n: short(token.entropy) }),
          ]
        : []),
    ];
    const title = h("h2", {}, "“", loneToken(token.text), "”");
    const head = [this.head(title), h("p", { class: "facts" }, ...facts.map((fact) => h("span", {}, fact)))];
    if (!token.by_model) return [...head, h("p", {}, t("lens.not_drawn"))];
    return [
      ...head,
      dice(token),
      h("h3", {}, t(token.cuts.some((cut) => cut.num_ids) ? "lens.candidates_cut" : "lens.candidates")),
      candidates(token, (id) => this.actions.branch(this.answer, token.n, id)),
      cutsLine(token),
      layers(this, token),
      toolChance(this),
      h(
        "p",
        { class: "hint" },
        t("lens.model", {
          model: modelNamed(data.model)?.title ?? data.model,
          weights: data.weights,
          n: count(data.vocab_size),
        }),
      ),
    ];
  }

  close() {
    if (this.aside.hidden) return;
    const had_focus = this.aside.contains(document.activeElement);
    this.mark(false);
    if (had_focus) this.span?.focus();
    this.aside.hidden = true;
    this.answer = "";
    document.body.classList.remove("lens-open");
  }
}

/** @param {EventTarget | null} target */
function tokenAt(target) {
  return target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(".turn .t[data-n]")) : null;
}

/** @param {HTMLElement} span @param {string} key */
function neighbour(span, key) {
  const next = {
    ArrowRight: span.nextElementSibling,
    ArrowLeft: span.previousElementSibling,
    Home: span.parentElement?.firstElementChild,
    End: span.parentElement?.lastElementChild,
  }[key];
  return /** @type {HTMLElement | null} */ (next ?? null);
}

/** @param {HTMLElement | null} before @param {HTMLElement} span */
function focusToken(before, span) {
  if (before) before.tabIndex = -1;
  for (const other of span.parentElement?.querySelectorAll(".t[tabindex='0']") ?? [])
    /** @type {HTMLElement} */ (other).tabIndex = -1;
  span.tabIndex = 0;
  span.focus({ preventScroll: false });
}

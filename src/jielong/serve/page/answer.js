/**
 * One answer on the page: its trail, thoughts, text, numbers and actions. While it is written, its text is drawn at most
 * once in a frame. With the lens on, its text gives way to its tokens, built only while it is in view.
 */

import { addCopyButtons } from "./code.js";
import { colourTokens } from "./colours.js";
import { copyText, fill, h, icon, iconButton, oncePerFrame, setHtml } from "./dom.js";
import { count, short } from "./format.js";
import { drawTrail } from "./trail.js";
import { judgedParts, openStars, pairItems, Thumbs } from "./feedback.js";
import { openMenu } from "./menu.js";
import { modelNamed, strategyOf } from "./state.js";
import { t } from "./strings.js";

/** @typedef {import("./stream.js").Writing} Writing */

/**
 * @typedef {object} AnswerActions  what the chat does for an answer
 * @property {(turn: Turn) => void} again
 * @property {(turn: Turn) => void} goOn
 * @property {(turn: Turn) => void} writeBetter
 * @property {() => Judged[]} judgements  of the whole conversation
 * @property {(kind: JudgedKind, answers: string[], value: JudgedValue) => void} judge
 * @property {(judgement: Judged) => void} takeBack
 * @property {(turn: Turn) => void} prompt
 * @property {(turn: Turn) => void} redraw
 * @property {(turn: Turn) => void} show
 * @property {(turn: Turn) => Turn[]} siblings
 * @property {(approval: string, allow: boolean) => Promise<unknown>} approve
 * @property {(turn: Turn, n: number) => void} passage
 */

const ENDED = ["done", "stopped", "interrupted"];

export class AnswerView {
  /**
   * @param {Turn} turn
   * @param {AnswerActions} actions
   */
  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.num_siblings = 0;
    /** @type {string | undefined} */
    this.shown = undefined;
    /** @type {Writing | null} */
    this.writing = null;
    /** The tokens that are shown in place of the text, if any. @type {LiveToken[] | null} */
    this.tokens = null;
    /** The state of the turn that `tokens` were fetched for. @type {Turn | null} */
    this.tokens_of = null;
    this.trail = h("div", { class: "trail" });
    this.thoughts = h("div", { class: "thoughts-text" });
    this.folded = h("details", { class: "thoughts" }, h("summary", {}, t("answer.thoughts")), this.thoughts);
    this.loading = h("p", { class: "note reading-model" });
    this.body = h("div", { class: "text" });
    this.end = h("div", { class: "end" });
    this.thumbs = new Thumbs(turn.id, actions);
    this.element = h(
      "article",
      { class: "turn answer", id: `turn-${turn.id}`, dataset: { turn: turn.id } },
      ...[this.trail, this.folded, this.loading, this.body, this.end],
    );
    this.drawSoon = oncePerFrame(() => this.draw());
    this.draw();
    this.drawEnd();
  }

  /**
   * Take a newer state of the turn.
   *
   * @param {Turn} turn
   * @param {Writing | null} writing
   */
  update(turn, writing) {
    const has_ended = turn !== this.turn;
    if (this.tokens && this.writing && !writing) this.tokens = this.writing.tokens.filter(Boolean); // until the full ones are fetched
    this.turn = turn;
    this.writing = writing;
    this.drawSoon();
    if (has_ended) this.drawEnd();
  }

  draw() {
    const { html, thoughts, trail } = this.writing ?? this.turn;
    const is_writing = this.turn.status === "writing";
    this.element.setAttribute("aria-label", t("answer.by", { model: this.modelTitle() }));
    this.element.setAttribute("aria-busy", String(is_writing));
    this.element.classList.toggle("writing", is_writing);
    drawTrail(this.trail, trail, {
      approve: this.actions.approve,
      passage: (n) => this.actions.passage(this.turn, n),
    });
    const { loading = "", text: written = "", tokens = [], usage = null } = this.writing ?? {};
    this.loading.hidden = !loading || Boolean(written || thoughts || tokens.length || trail.length || usage);
    const title = modelNamed(loading)?.title ?? loading;
    if (!this.loading.hidden) this.loading.textContent = t("answer.loading", { model: title });
    this.folded.hidden = !thoughts;
    if (this.thoughts.textContent !== thoughts) this.thoughts.textContent = thoughts;
    if (this.tokens) this.drawTokens();
    else if (this.shown !== html) this.drawHtml(html);
    if (this.writing) this.drawUsage();
  }

  /** @param {string} html */
  drawHtml(html) {
    this.shown = html;
    this.body.className = "text prose";
    this.body.removeAttribute("role");
    this.body.removeAttribute("aria-label");
    setHtml(this.body, html);
    addCopyButtons(this.body);
  }

  /**
   * Show tokens in place of the text, or the text again for null.
   *
   * @param {LiveToken[] | null} tokens
   */
  showTokens(tokens) {
    if (tokens === null && this.tokens === null) return;
    this.tokens = tokens;
    this.shown = undefined;
    this.draw();
  }

  drawTokens() {
    const tokens = this.turn.status === "writing" ? (this.writing?.tokens ?? []) : (this.tokens ?? []);
    const chosen = this.turn.chosen?.n ?? -1;
    colourTokens(this.body, tokens.filter(Boolean), chosen);
    this.body.dispatchEvent(new Event("tokens", { bubbles: true })); // one of them may be what the lens is about
  }

  // The line below the text -----------------------------------------------------------------------------------------

  drawEnd() {
    const { turn } = this;
    this.numbers = h("span", { class: "numbers" });
    fill(
      this.end,
      this.problem(),
      h("div", { class: "meta" }, this.numbers, h("span", { class: "acts" }, this.versions(), this.buttons())),
    );
    this.drawUsage();
    this.end.hidden = false;
    this.element.dataset.status = turn.status;
  }

  drawUsage() {
    const usage = this.writing?.usage ?? this.turn.usage;
    const { is_edited, chosen, strategy } = this.turn;
    const asked = strategyOf(strategy);
    const parts = [
      ...(chosen ? [{ text: t("answer.branched", { n: chosen.n + 1 }) }] : []),
      ...(is_edited ? [{ text: t("answer.edited") }] : []),
      ...judgedParts(this.turn, this.actions),
      ...(usage ? usageParts(usage) : []),
      { text: this.modelTitle() },
      ...(strategy ? [{ text: asked?.name ?? strategy }] : []),
    ];
    if (this.numbers) fill(this.numbers, ...parts.map(({ text, tip }) => h("span", { title: tip }, text)));
  }

  /** Show what is thought of this answer now. */
  drawJudged() {
    this.thumbs.draw();
    this.drawUsage();
  }

  modelTitle() {
    return modelNamed(this.turn.model)?.title ?? this.turn.model;
  }

  /** What went wrong, with what can be done about it. */
  problem() {
    const { turn } = this;
    if (turn.status === "failed") {
      return h(
        "div",
        { class: "problem", role: "alert" },
        icon("warning"),
        h("p", {}, turn.error || t("answer.failed")),
        h("button", { type: "button", class: "button", onclick: () => this.actions.again(turn) }, t("retry")),
      );
    }
    const cause =
      turn.status === "interrupted" ? "answer.interrupted" : turn.status === "stopped" ? "answer.stopped" : "";
    const is_cut = turn.stop === "length";
    if (!cause && !is_cut) return null;
    return h(
      "p",
      { class: "unfinished" },
      t(cause || "answer.cut"),
      h("button", { type: "button", class: "link", onclick: () => this.actions.goOn(turn) }, t("answer.continue")),
    );
  }

  /** The switch between siblings. */
  versions() {
    const all = this.actions.siblings(this.turn);
    return siblingSwitch(all, this.turn, this.actions.show);
  }

  buttons() {
    const { turn, actions } = this;
    if (!ENDED.includes(turn.status)) return null;
    return h(
      "span",
      { class: "actions" },
      iconButton("copy", t("copy"), (event) => copyText(/** @type {HTMLElement} */ (event.currentTarget), turn.text)),
      iconButton("again", t("answer.again"), () => actions.again(turn)),
      this.thumbs.element,
      iconButton("edit", t("answer.correct"), () => actions.writeBetter(turn)),
      iconButton(
        "more",
        t("answer.more"),
        (event) => {
          openMenu(/** @type {HTMLElement} */ (event.currentTarget), [
            { label: t("stars.title"), icon: "star", act: () => openStars(turn.id, actions) },
            ...pairItems(turn, actions),
            { label: t("answer.go_on"), icon: "right", act: () => actions.goOn(turn) },
            ...(turn.has_tokens
              ? [
                  { label: t("prompt.title"), icon: /** @type {const} */ ("prompt"), act: () => actions.prompt(turn) },
                  { label: t("redraw.title"), icon: /** @type {const} */ ("dice"), act: () => actions.redraw(turn) },
                ]
              : []),
          ]);
        },
        { "aria-haspopup": "menu" },
      ),
    );
  }
}

/**
 * What an answer took, in parts with a tip where a number needs one.
 *
 * @param {Usage} usage
 * @returns {{ text: string, tip?: string }[]}
 */
function usageParts({ prompt_tokens, completion_tokens, reused_tokens, tokens_per_s, context, calls }) {
  const parts = [{ text: t("usage.tokens", { n: completion_tokens }) }];
  if (tokens_per_s) {
    parts.push({ text: t("usage.speed", { n: tokens_per_s >= 10 ? Math.round(tokens_per_s) : short(tokens_per_s) }) });
  }
  const used = prompt_tokens + completion_tokens;
  const text = context ? t("usage.context", { used, context }) : t("usage.used", { n: used });
  const reused = { text: t("usage.reused", { n: reused_tokens }), tip: t("usage.reused_title") };
  return [
    ...parts,
    { text, tip: t("usage.context_title") },
    ...(reused_tokens ? [reused] : []),
    ...(calls > 1 ? [{ text: t("usage.calls", { n: calls }) }] : []),
  ];
}

/**
 * "‹ 2 of 3 ›" for a turn that has siblings.
 *
 * @param {Turn[]} all
 * @param {Turn} turn
 * @param {(turn: Turn) => void} show
 */
export function siblingSwitch(all, turn, show) {
  if (all.length < 2) return null;
  const place = all.findIndex((one) => one.id === turn.id);
  return h(
    "span",
    { class: "versions", role: "group", "aria-label": t("versions") },
    iconButton("left", t("versions.before"), () => show(all[place - 1]), { disabled: place === 0 }),
    h("span", {}, t("versions.place", { n: count(place + 1), of: count(all.length) })),
    iconButton("right", t("versions.after"), () => show(all[place + 1]), { disabled: place === all.length - 1 }),
  );
}

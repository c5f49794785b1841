/**
 * Two answers to one question, and a vote by one key. Who wrote which is told afterwards. While an attempt to learn asks,
 * its pairs come first: they decide whether what was learned is kept.
 */

import { Ahead } from "./ahead.js";
import { api } from "./api.js";
import { editBetter } from "./better.js";
import { fill, h } from "./dom.js";
import { announce, problem } from "./notice.js";
import { button, card } from "./pieces.js";
import { Sitting } from "./sitting.js";
import { modelNamed } from "./state.js";
import { t } from "./strings.js";

/**
 * @typedef {object} Deciding  a pair of an attempt to learn
 * @property {string} id
 * @property {number} n
 * @property {string} prompt
 * @property {DecidingPair["messages"]} before  what was said before the question
 * @property {{ text: string, html: string }[]} answers
 */

const ahead = new Ahead("pairs", () => 2);

const VOTES = /** @type {const} */ ([
  ["left", "←", "ArrowLeft"],
  ["tie", "↑", "ArrowUp"],
  ["bad", "↓", "ArrowDown"],
  ["right", "→", "ArrowRight"],
]);

export class Pairs extends Sitting {
  /**
   * @param {import("./learn.js").LearnPanel} learn
   * @param {(num: number) => void} onCount
   */
  constructor(learn, onCount) {
    super(ahead, onCount);
    this.learn = learn;
    /** @type {Deciding | null} */
    this.deciding = null;
    this.why = h("p", { class: "hint why" });
    this.before = h("dl", { class: "turns-before" });
    this.pair = h("div", { class: "pair" });
    this.buttons = VOTES.map(([outcome, key, name]) =>
      button(key, name, t(`judge.${outcome}`), () => void this.vote(outcome)),
    );
    this.better = button("e", "e", t("judge.better"), () => void this.writeBetter());
    const votes = h("div", { class: "votes", role: "group", "aria-label": t("judge.votes") }, ...this.buttons);
    const others = h("div", { class: "others" }, this.better, this.skip, this.undo);
    this.element = h(
      "section",
      { class: "pairs", "aria-label": t("judge.pairs") },
      ...[
        this.why,
        this.last,
        this.before,
        this.question,
        this.pair,
        h("div", { class: "bar-below" }, votes, others),
        this.progress,
      ],
    );
    /** @type {import("./shortcuts.js").Keys} */
    this.keys = {
      ...Object.fromEntries(VOTES.map(([outcome, , name]) => [name, () => !isScrolled() && void this.vote(outcome)])),
      e: () => void this.writeBetter(),
      n: () => void this.next(),
      z: () => void this.takeBack(),
    };
  }

  open() {
    const wanted = `${this.learn.asking?.id} ${ahead.wanted}`;
    const is_shown = this.drawn ?? this.deciding;
    if (is_shown && wanted === this.made_for) return;
    if (wanted === this.made_for && this.pair.querySelector(".loading")) return; // it is on its way
    this.made_for = wanted;
    if (this.drawn) ahead.putBack(this.drawn);
    void this.next();
  }

  close() {
    this.putAway();
    this.deciding = null;
    fill(this.pair);
  }

  /** Show the next pair; one that was not judged yet comes again later. */
  async next() {
    const asked = (this.asked += 1);
    this.drawn = null;
    this.deciding = null;
    this.draw();
    try {
      const deciding = await this.nextDeciding();
      if (asked !== this.asked) return;
      const drawn = deciding ? null : await ahead.next();
      if (asked !== this.asked) {
        if (drawn) ahead.putBack(drawn);
        return;
      }
      this.drawn = drawn;
      this.deciding = deciding;
    } catch (error) {
      if (asked === this.asked)
        fill(
          this.pair,
          problem(error, () => void this.next()),
        );
      return;
    }
    this.draw();
    announce(`${this.said} ${this.drawn?.prompt ?? this.deciding?.prompt}`);
  }

  /** @returns {Promise<Deciding | null>} */
  async nextDeciding() {
    const attempt = this.learn.asking;
    if (!attempt) return null;
    const { n, prompt, messages, left, right, attempt: ended } = await api.decidingPair(attempt.id);
    if (n !== null) return { id: attempt.id, n, prompt, before: messages.slice(0, -1), answers: [left, right] };
    if (ended) this.learn.takeAttempt(ended);
    return null;
  }

  /** @param {Drawn | null} drawn */
  show(drawn) {
    super.show(drawn);
    this.draw();
  }

  draw() {
    const shown = this.drawn ?? this.deciding;
    const is_deciding = Boolean(this.deciding);
    this.element.classList.toggle("deciding", is_deciding);
    this.why.textContent = t(is_deciding ? "learn.deciding" : "judge.blind");
    this.why.hidden = Boolean(this.said) && !is_deciding;
    fill(this.before, ...(this.deciding?.before ?? []).map(said));
    fill(this.question, shown ? h("div", { class: "bubble" }, shown.prompt) : null);
    const sides = /** @type {const} */ (["judge.left", "judge.right"]);
    this.pair.style.minHeight = shown ? "" : `${this.pair.offsetHeight}px`; // nothing moves while others are written
    if (shown) fill(this.pair, ...shown.answers.map((answer, place) => card(t(sides[place]), answer)));
    else
      fill(
        this.pair,
        h("div", { class: "drawing" }, h("div", { class: "loading" }), h("p", { class: "hint" }, t("judge.drawing"))),
      );
    for (const one of this.buttons) one.disabled = !shown;
    this.better.disabled = this.skip.disabled = !this.drawn;
    this.undo.disabled = this.given.length === 0 || is_deciding;
    this.last.textContent = this.said;
    this.progress.textContent = this.place();
  }

  place() {
    const { pairs } = this.learn.asking ?? {};
    if (pairs) return t("learn.deciding_place", { n: pairs.asked + 1, least: pairs.least, most: pairs.most });
    return this.counts();
  }

  // Votes ---------------------------------------------------------------------------------------------------------------

  /** @param {Outcome} outcome */
  async vote(outcome) {
    const { drawn, deciding } = this;
    const what = t(`judge.${outcome}`).toLowerCase();
    if (deciding) {
      await this.go(async () => {
        this.learn.takeAttempt((await api.decide(deciding.id, deciding.n, outcome)).attempt);
        this.said = t("judge.said", { what });
      });
    } else if (drawn) {
      const ids = drawn.answers.map((answer) => answer.id);
      await this.go(async () => {
        const told = await api.judge("preference", ids, { outcome });
        const [left, right] = ids.map((id) => modelNamed(told.wrote[id])?.title ?? told.wrote[id]);
        this.keep(told, drawn, t(left === right ? "judge.said" : "judge.said_who", { what, left, right }));
      });
    }
  }

  async writeBetter() {
    const { drawn } = this;
    if (!drawn) return;
    const written = await editBetter(drawn.answers);
    if (!written) return;
    await this.go(async () =>
      this.keep(await api.writeBetter(written.rejected, written.text), drawn, t("judge.written")),
    );
  }

  /** @param {() => Promise<void>} act  what is done before the next pair comes */
  async go(act) {
    if (!(await this.attempt(act))) return;
    this.element.closest(".view")?.scrollTo(0, 0);
    await this.next();
  }

  async takeBack() {
    if (!this.deciding) await super.takeBack();
  }
}

/** A turn that came before. @param {DecidingPair["messages"][number]} message */
function said({ role, text }) {
  const who = /** @type {const} */ ({ system: "sampling.system", user: "question.yours", assistant: "judge.answer" });
  return h("div", {}, h("dt", {}, t(who[role])), h("dd", {}, text));
}

/** Whether the arrow keys belong to something that is scrolled by them. */
function isScrolled() {
  return Boolean(document.activeElement?.closest("pre, table"));
}

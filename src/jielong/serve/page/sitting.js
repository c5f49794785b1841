/** What ways to judge share: the answers that are shown, what was judged since the view opened, and taking the last one back. */

import { api, ApiError } from "./api.js";
import { fill, h } from "./dom.js";
import { announce, notice, problem } from "./notice.js";
import { button } from "./pieces.js";
import { t } from "./strings.js";
import { supply } from "./supply.js";

export class Sitting {
  /**
   * @param {import("./ahead.js").Ahead} ahead  where answers come from
   * @param {(num: number) => void} onCount
   */
  constructor(ahead, onCount) {
    this.ahead = ahead;
    this.onCount = onCount;
    /** @type {Drawn | null} */
    this.drawn = null;
    /** Judgements of this sitting with what they were of. @type {{ judgement: Judged, drawn: Drawn }[]} */
    this.given = [];
    this.is_busy = false;
    /** Counts what was asked for; an answer to an older one comes too late. */
    this.asked = 0;
    this.made_for = "";
    this.said = "";
    this.question = h("div", { class: "asked" });
    this.last = h("div", { class: "last" });
    this.progress = h("p", { class: "hint progress" });
    this.skip = button("n", "n", t("judge.next"), () => void this.next());
    this.undo = button("z", "z", t("judge.undo"), () => void this.takeBack());
  }

  /** Show the next answers. @abstract */
  async next() {}

  /** Show these answers. @param {Drawn | null} drawn */
  show(drawn) {
    this.drawn = drawn;
  }

  /** Give back what is shown, and wait for nothing. */
  putAway() {
    this.ahead.leave();
    if (this.drawn) this.ahead.putBack(this.drawn);
    this.drawn = null;
    this.asked += 1;
  }

  /** How many were judged, and how many questions are to come. */
  counts() {
    const given = this.given.length ? t("judge.sitting", { n: this.given.length }) : t("judge.none");
    return `${given} · ${t("judge.ahead", { n: supply.left.length })}`;
  }

  /** @param {ToldJudgement} told @param {Drawn} drawn @param {string} said */
  keep(told, drawn, said) {
    this.given.push({ judgement: told.judgement, drawn });
    this.said = said;
    this.onCount(told.num);
  }

  /**
   * Do something with what is shown; whether it is over with it, as it is where it was deleted meanwhile.
   *
   * @param {() => Promise<void>} act
   */
  async attempt(act) {
    if (this.is_busy) return false;
    this.is_busy = true;
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) {
        fill(this.last, problem(error));
        return false;
      }
      notice(t("judge.gone"));
    } finally {
      this.is_busy = false;
    }
    return true;
  }

  async takeBack() {
    const last = this.given.at(-1);
    if (!last || this.is_busy) return;
    this.is_busy = true;
    try {
      const { num } = await api.takeBack(last.judgement.id);
      this.given.pop();
      this.putAway();
      this.said = t("judge.taken_back");
      this.show(last.drawn);
      this.ahead.show(last.drawn);
      announce(this.said);
      this.onCount(num);
    } catch (error) {
      fill(this.last, problem(error));
    } finally {
      this.is_busy = false;
    }
  }
}

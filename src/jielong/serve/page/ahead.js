/** Answers to be judged, drawn ahead of the person: one draw after the other, so that the first is there as soon as it can be. */

import { api, ApiError } from "./api.js";
import { choices, emit, firstSettings, modelNamed } from "./state.js";
import { supply } from "./supply.js";

/** Draws that lie ready, so that the next one is there at once. */
const NUM_AHEAD = 2;
/** Questions that may be passed over in a row because all answers to them are the same. */
const MOST_SAME = 20;

/** The models whose answers are judged: one that is compared with itself, or two. */
export function judgedModels() {
  const { model, other } = choices.judging;
  const first = modelNamed(model) ? model : firstSettings().model;
  return other && other !== first && modelNamed(other) ? [first, other] : [first];
}

export class Ahead {
  /**
   * @param {string} name  under which what lies ready outlives a reload
   * @param {() => number} num  answers to each question
   */
  constructor(name, num) {
    this.key = `jielong.ahead.${name}`;
    this.num = num;
    this.is_drawing = false;
    /** Whoever waits for the next draw. @type {PromiseWithResolvers<Drawn> | null} */
    this.waiting = null;
    /** The draw that is shown. @type {Drawn | null} */
    this.shown = null;
    /** @type {Drawn[]} */
    this.ready = [];
    this.made_for = "";
    this.is_restored = false;
  }

  /** The settings that draws are made for, in a string. */
  get wanted() {
    const { own, built_in, lines } = choices.judging;
    return JSON.stringify([judgedModels(), this.num(), own, built_in, lines]);
  }

  /** The next draw. */
  next() {
    if (!this.is_restored) this.restore();
    this.forgetOthers();
    const one = this.ready.shift() ?? null;
    this.show(one);
    /** @type {PromiseWithResolvers<Drawn>} */
    const next = Promise.withResolvers();
    if (one) next.resolve(one);
    this.waiting = one ? null : next; // who asked before waits no more
    void this.fill();
    return next.promise;
  }

  /** Wait no more: the next draw is kept for later. */
  leave() {
    this.waiting = null;
  }

  /** Note which draw is shown: a reload shows it again. @param {Drawn | null} one */
  show(one) {
    this.shown = one;
    this.keep();
  }

  /** Give back a draw that was not judged. @param {Drawn} one */
  putBack(one) {
    this.ready.unshift(one);
    this.show(this.shown === one ? null : this.shown);
  }

  /** Forget draws that were made for other settings. */
  forgetOthers() {
    if (this.made_for === this.wanted) return;
    for (const one of this.ready) supply.asked.delete(one.prompt);
    this.ready = [];
    this.made_for = this.wanted;
  }

  keep() {
    const ready = this.shown ? [this.shown, ...this.ready] : this.ready;
    sessionStorage.setItem(this.key, JSON.stringify({ made_for: this.made_for, ready }));
  }

  /** Take up what lay ready before a reload. */
  restore() {
    const { made_for = "", ready = [] } = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    this.is_restored = true;
    this.made_for = made_for;
    this.ready = ready;
    for (const one of this.ready) supply.asked.add(one.prompt);
  }

  async fill() {
    if (this.is_drawing) return;
    this.is_drawing = true;
    try {
      while (this.waiting || this.ready.length < NUM_AHEAD) {
        const made_for = this.wanted;
        const one = await this.draw();
        if (judgedModels().some((name) => !modelNamed(name)?.is_loaded)) emit("models");
        if (made_for !== this.wanted) {
          supply.asked.delete(one.prompt); // the person has changed the settings meanwhile
          continue;
        }
        if (this.waiting) {
          this.show(one);
          this.waiting.resolve(one);
          this.waiting = null;
        } else {
          this.ready.push(one);
          this.keep();
        }
      }
    } catch (error) {
      this.waiting?.reject(error); // where nobody waits, whoever asks next tries again
      this.waiting = null;
    } finally {
      this.is_drawing = false;
    }
  }

  async draw() {
    for (let num_same = 1; ; num_same += 1) {
      const prompt = await supply.next();
      const { sampling } = firstSettings();
      try {
        return await api.drawPair({ prompt, models: judgedModels(), sampling, num: this.num() });
      } catch (error) {
        const is_same = error instanceof ApiError && error.code === "same_answers";
        if (!is_same) supply.asked.delete(prompt);
        if (!is_same || num_same === MOST_SAME) throw error;
      }
    }
  }
}

/** Three or four answers to one question, put in order by keys or buttons; equal ones share a place. */

import { Ahead } from "./ahead.js";
import { api } from "./api.js";
import { fill, h, iconButton } from "./dom.js";
import { announce, problem } from "./notice.js";
import { answerBody, button } from "./pieces.js";
import { Sitting } from "./sitting.js";
import { choices, choose, modelNamed } from "./state.js";
import { t } from "./strings.js";

/**
 * @typedef {object} Placed  an answer where it stands now
 * @property {DrawnAnswer} answer
 * @property {string} letter
 * @property {boolean} is_tied  with the one above
 * @property {HTMLElement} element
 */

const NUMS = [3, 4];
const ahead = new Ahead("order", () => choices.judging.num);

export class Order extends Sitting {
  /** @param {(num: number) => void} onCount */
  constructor(onCount) {
    super(ahead, onCount);
    /** @type {Placed[]} */
    this.placed = [];
    this.nums = h("div", { class: "choices", role: "group", "aria-label": t("order.num") });
    this.hint = h("p", { class: "hint" });
    this.list = h("ol", { class: "ranked", "aria-label": t("order.list") });
    this.loading = h("div", { class: "drawing" });
    this.save = button("⏎", "Enter", t("order.save"), () => void this.judge());
    this.save.classList.add("primary");
    this.element = h(
      "section",
      { class: "ordering", "aria-label": t("judge.order") },
      ...[h("div", { class: "order-head" }, this.hint, this.nums), this.last, this.question, this.loading, this.list],
      ...[
        h("div", { class: "bar-below" }, h("div", { class: "others" }, this.save, this.skip, this.undo)),
        this.progress,
      ],
    );
    /** @type {import("./shortcuts.js").Keys} */
    this.keys = {
      ArrowUp: () => this.moveFocused(-1),
      ArrowDown: () => this.moveFocused(1),
      "=": () => this.tieFocused(),
      Enter: () => !document.activeElement?.closest("button, a, summary") && void this.judge(),
      n: () => void this.next(),
      z: () => void this.takeBack(),
    };
    for (let n = 1; n <= Math.max(...NUMS); n += 1) this.keys[n] = () => this.pick(n - 1);
  }

  open() {
    this.drawNums();
    if (ahead.wanted === this.made_for && (this.drawn || !this.loading.hidden)) return;
    this.made_for = ahead.wanted;
    if (this.drawn) ahead.putBack(this.drawn);
    void this.next();
  }

  close() {
    this.putAway();
    this.loading.hidden = true;
  }

  drawNums() {
    fill(
      this.nums,
      t("order.num"),
      NUMS.map((num) =>
        h(
          "button",
          {
            type: "button",
            class: "pill",
            "aria-pressed": String(num === choices.judging.num),
            onclick: () => {
              choose({ judging: { ...choices.judging, num } });
              this.open();
              /** @type {HTMLElement} */ (this.nums.children[NUMS.indexOf(num)]).focus();
            },
          },
          num,
        ),
      ),
    );
  }

  async next() {
    const asked = (this.asked += 1);
    this.show(null);
    try {
      const drawn = await ahead.next();
      if (asked !== this.asked) return ahead.putBack(drawn);
      this.show(drawn);
      announce(`${this.said} ${drawn.prompt}`);
    } catch (error) {
      if (asked === this.asked)
        fill(
          this.loading,
          problem(error, () => void this.next()),
        );
    }
  }

  /** @param {Drawn | null} drawn */
  show(drawn) {
    super.show(drawn);
    this.placed = (drawn?.answers ?? []).map((answer, n) => this.place(answer, "ABCD"[n]));
    fill(this.question, drawn ? h("div", { class: "bubble" }, drawn.prompt) : null);
    this.loading.hidden = drawn !== null;
    fill(this.loading, h("div", { class: "loading" }), h("p", { class: "hint" }, t("judge.drawing")));
    this.hint.textContent = t("order.hint", { n: drawn?.answers.length ?? choices.judging.num });
    this.draw();
  }

  /** @param {DrawnAnswer} answer @param {string} letter @returns {Placed} */
  place(answer, letter) {
    const element = h("li", { tabindex: -1, dataset: { letter } });
    const one = { answer, letter, is_tied: false, element };
    const tie = iconButton("equal", t("order.tie"), () => this.tie(one), { class: "icon-button tie" });
    const up = iconButton("up", t("order.up", { letter }), () => this.move(one, -1), { class: "icon-button up" });
    const down = iconButton("down", t("order.down", { letter }), () => this.move(one, 1), {
      class: "icon-button down",
    });
    fill(
      element,
      h("div", { class: "order-place" }, h("b", {}), h("span", { class: "hint" }, t("order.answer", { letter }))),
      answerBody(answer),
      h("div", { class: "order-moves" }, up, down, tie),
    );
    return one;
  }

  /** Places from 0, in the order of `placed`. */
  places() {
    let place = -1;
    return this.placed.map((one, n) => (place += n === 0 || !one.is_tied ? 1 : 0));
  }

  draw() {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    if (this.placed[0]) this.placed[0].is_tied = false;
    fill(this.list, ...this.placed.map((one) => one.element));
    const places = this.places();
    this.placed.forEach(({ element, letter, is_tied }, n) => {
      /** @type {HTMLElement} */ (element.querySelector("b")).textContent = String(places[n] + 1);
      element.setAttribute("aria-label", t("order.now", { letter, n: places[n] + 1 }));
      element.classList.toggle("tied", is_tied);
      const [up, down, tie] = element.querySelectorAll(".order-moves button");
      up.toggleAttribute("disabled", n === 0);
      down.toggleAttribute("disabled", n === this.placed.length - 1);
      tie.toggleAttribute("disabled", n === 0);
      tie.setAttribute("aria-pressed", String(is_tied));
    });
    if (focused && this.list.contains(focused)) {
      const card = /** @type {HTMLElement} */ (focused.closest("li"));
      (focused.hasAttribute("disabled") ? card : focused).focus();
    }
    this.save.disabled = this.skip.disabled = !this.drawn;
    this.undo.disabled = this.given.length === 0;
    this.last.textContent = this.said;
    this.progress.textContent = this.counts();
  }

  // Moving --------------------------------------------------------------------------------------------------------------

  get focused() {
    const card = document.activeElement?.closest("li");
    return this.placed.find((one) => one.element === card);
  }

  /** @param {number} n */
  pick(n) {
    this.placed[n]?.element.focus();
  }

  /** @param {number} by */
  moveFocused(by) {
    if (this.focused) this.move(this.focused, by);
    else this.pick(0);
  }

  /** @param {Placed} one @param {number} by */
  move(one, by) {
    const from = this.placed.indexOf(one);
    const to = from + by;
    if (to < 0 || to >= this.placed.length) return;
    one.is_tied = false;
    this.placed.splice(from, 1);
    this.placed.splice(to, 0, one);
    this.draw();
    announce(t("order.now", { letter: one.letter, n: this.places()[to] + 1 }));
  }

  tieFocused() {
    if (this.focused) this.tie(this.focused);
  }

  /** @param {Placed} one */
  tie(one) {
    const n = this.placed.indexOf(one);
    if (n === 0) return;
    one.is_tied = !one.is_tied;
    this.draw();
    announce(t("order.now", { letter: one.letter, n: this.places()[n] + 1 }));
  }

  // Judging -------------------------------------------------------------------------------------------------------------

  async judge() {
    const { drawn } = this;
    if (!drawn) return;
    const place = new Map(this.places().map((n, at) => [this.placed[at].answer.id, n]));
    const ids = drawn.answers.map((answer) => answer.id);
    const is_over = await this.attempt(async () => {
      const told = await api.judge("ranking", ids, { places: ids.map((id) => place.get(id) ?? 0) });
      this.keep(told, drawn, t("order.saved", { order: this.told(told.wrote) }));
    });
    if (is_over) await this.next();
  }

  /** The order in a line: "B (tiny) > A = C"; models where there are two. @param {Record<string, string>} wrote */
  told(wrote) {
    const has_two = new Set(Object.values(wrote)).size > 1;
    return this.placed
      .map(({ letter, is_tied, answer }, n) => {
        const model = modelNamed(wrote[answer.id])?.title ?? wrote[answer.id];
        return `${n === 0 ? "" : is_tied ? " = " : " > "}${letter}${has_two ? ` (${model})` : ""}`;
      })
      .join("");
  }
}

/**
 * Judging: blind pairs, several answers put in order, and answers that a person writes; below them what there is to learn
 * from, and learning from it.
 */

import { judgedModels } from "./ahead.js";
import { fill, h, icon } from "./dom.js";
import { frame } from "./frame.js";
import { LearnPanel } from "./learn.js";
import { openMenu } from "./menu.js";
import { Order } from "./order.js";
import { Pairs } from "./pairs.js";
import { choices, choose, countJudgements, modelNamed, page } from "./state.js";
import { t } from "./strings.js";
import { supplySettings } from "./supply.js";
import { Write } from "./write.js";

/**
 * @typedef {object} Mode  a way to judge
 * @property {HTMLElement} element
 * @property {() => void} open  it is shown, and again when settings have changed
 * @property {() => void} close
 * @property {import("./shortcuts.js").Keys} keys
 */

const MODES = /** @type {const} */ ([
  ["", "judge.pairs"],
  ["order", "judge.order"],
  ["write", "judge.write"],
]);

export class JudgeView {
  /** @param {HTMLElement} main */
  constructor(main) {
    this.model = this.pill(() => this.chooseModel());
    this.other = this.pill(() => this.chooseOther());
    this.tabs = h("nav", { class: "tabs", "aria-label": t("judge.modes") });
    this.place = h("div", {});
    this.supply = supplySettings(() => this.mode.open());
    this.learn = new LearnPanel(() => this.mode.open());
    /** @type {Record<string, Mode>} */
    this.modes = {
      "": new Pairs(this.learn, (num) => this.count(num)),
      order: new Order((num) => this.count(num)),
      write: new Write((num) => this.count(num)),
    };
    this.mode = this.modes[""];
    const column = frame(main, t("nav.judge"), [this.model, this.other]);
    column.classList.add("judge");
    fill(column, this.tabs, this.place, this.supply, this.learn.element);
  }

  /** @param {string} name */
  open(name) {
    const next = this.modes[name] ?? this.modes[""];
    if (next !== this.mode) this.mode.close();
    this.mode = next;
    const had_focus = this.tabs.contains(document.activeElement);
    fill(
      this.tabs,
      MODES.map(([mode, label]) =>
        h(
          "a",
          { href: `#/judge${mode && `/${mode}`}`, "aria-current": this.modes[mode] === next ? "page" : undefined },
          t(label),
        ),
      ),
    );
    if (had_focus) /** @type {HTMLElement | null} */ (this.tabs.querySelector("[aria-current]"))?.focus();
    fill(this.place, next.element);
    this.drawPills();
    this.learn.open(judgedModels()[0]);
    next.open();
  }

  get keys() {
    return this.mode.keys;
  }

  /** @param {number} num */
  count(num) {
    countJudgements(num);
    void this.learn.count();
  }

  // Models ------------------------------------------------------------------------------------------------------------

  /** @param {() => void} onclick */
  pill(onclick) {
    return h("button", { type: "button", class: "pill", "aria-haspopup": "menu", onclick });
  }

  drawPills() {
    const [model, other] = judgedModels();
    const is_drawn = this.mode !== this.modes.write;
    this.model.hidden = !is_drawn;
    this.other.hidden = !is_drawn || page.server.models.length < 2;
    const title = modelNamed(model)?.title ?? t("bar.no_model");
    const against = other ? (modelNamed(other)?.title ?? other) : t("judge.itself");
    write(this.model, t("judge.model"), "", title);
    write(this.other, t("judge.other"), t("judge.with"), against);
  }

  chooseModel() {
    const [chosen] = judgedModels();
    openMenu(
      this.model,
      page.server.models.map(({ name, title }) => ({
        label: title,
        is_chosen: name === chosen,
        act: () => this.choose({ model: name }),
      })),
    );
  }

  chooseOther() {
    const [model, chosen = ""] = judgedModels();
    const itself = { label: t("judge.itself"), detail: t("judge.itself_help"), is_chosen: !chosen };
    openMenu(this.other, [
      { ...itself, act: () => this.choose({ other: "" }) },
      ...page.server.models
        .filter(({ name }) => name !== model)
        .map(({ name, title }) => ({
          label: title,
          is_chosen: name === chosen,
          act: () => this.choose({ other: name }),
        })),
    ]);
  }

  /** @param {Partial<import("./state.js").JudgingChoices>} changes */
  choose(changes) {
    choose({ judging: { ...choices.judging, ...changes } });
    this.drawPills();
    this.learn.open(judgedModels()[0]);
    this.mode.open();
  }

  close() {
    this.mode.close();
    this.learn.close();
  }
}

/** @param {HTMLElement} pill @param {string} label @param {string} before @param {string} value */
function write(pill, label, before, value) {
  fill(pill, before ? h("i", { class: "wide" }, before) : null, h("span", { class: "value" }, value), icon("down"));
  pill.title = label;
  pill.setAttribute("aria-label", `${label}: ${value}`);
}

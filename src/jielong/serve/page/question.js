/** One question on the page, which can be edited in place and sent again as its own sibling. */

import { siblingSwitch } from "./answer.js";
import { copyText, fill, h, iconButton } from "./dom.js";
import { t } from "./strings.js";

/**
 * @typedef {object} QuestionActions
 * @property {(turn: Turn, text: string) => Promise<void>} resend
 * @property {(turn: Turn) => void} show
 * @property {(turn: Turn) => Turn[]} siblings
 */

export class QuestionView {
  /**
   * @param {Turn} turn
   * @param {QuestionActions} actions
   */
  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.num_siblings = 0;
    this.element = h("article", { class: "turn question", id: `turn-${turn.id}`, "aria-label": t("question.yours") });
    this.drawEnd();
  }

  drawEnd() {
    const { turn, actions } = this;
    const versions = siblingSwitch(actions.siblings(turn), turn, actions.show);
    fill(
      this.element,
      h(
        "div",
        { class: "said" },
        h(
          "span",
          { class: "actions" },
          iconButton("copy", t("copy"), (event) =>
            copyText(/** @type {HTMLElement} */ (event.currentTarget), turn.text),
          ),
          iconButton("edit", t("question.edit"), () => this.edit()),
        ),
        h("div", { class: "bubble" }, turn.text),
      ),
      versions && h("div", { class: "meta" }, versions),
    );
  }

  edit() {
    const field = h("textarea", { class: "field grow", rows: 2, "aria-label": t("question.edit") });
    field.value = this.turn.text;
    const send = async () => {
      const text = field.value.trim();
      if (!text) return;
      await this.actions.resend(this.turn, text);
      this.drawEnd();
    };
    const cancel = () => {
      this.drawEnd();
      /** @type {HTMLElement | null} */ (this.element.querySelector(".actions button:last-child"))?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        void send();
      }
    });
    fill(
      this.element,
      field,
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "button", onclick: cancel }, t("cancel")),
        h("button", { type: "button", class: "button primary", onclick: send }, t("send")),
      ),
    );
    field.focus();
  }
}

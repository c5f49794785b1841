/** A person writes answers for the model to learn from: a question that may be changed, and the answer to it. */

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { announce, problem } from "./notice.js";
import { button } from "./pieces.js";
import { draftOf, keepDraft } from "./state.js";
import { t } from "./strings.js";
import { supply } from "./supply.js";

const DRAFT = "judge.write";

export class Write {
  /** @param {(num: number) => void} onCount */
  constructor(onCount) {
    this.onCount = onCount;
    /** @type {{ judgement: Judged, prompt: string, answer: string }[]} */
    this.given = [];
    this.question = h("textarea", { class: "field grow", rows: 2, id: "write-question" });
    this.answer = h("textarea", {
      class: "field grow",
      rows: 5,
      id: "write-answer",
      oninput: () => keepDraft(DRAFT, JSON.stringify([this.question.value, this.answer.value])),
    });
    this.last = h("div", { class: "last" });
    this.save = h("button", { class: "button primary" }, t("write.save"));
    this.skip = h("button", { type: "button", class: "button", onclick: () => void this.next() }, t("judge.next"));
    this.undo = button("z", "z", t("judge.undo"), () => void this.takeBack());
    const form = h(
      "form",
      { class: "writing-form", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), void this.keep()) },
      h("label", { for: this.question.id }, t("write.question")),
      this.question,
      h("label", { for: this.answer.id }, t("write.answer")),
      this.answer,
      h("p", { class: "hint" }, t("write.hint")),
      h("div", { class: "row" }, this.save, this.skip, this.undo),
      this.last,
    );
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) form.requestSubmit();
    });
    this.element = h("section", { "aria-label": t("judge.write") }, form);
    /** @type {import("./shortcuts.js").Keys} */
    this.keys = { n: () => void this.next(), z: () => void this.takeBack() };
    this.draw("");
  }

  open() {
    if (this.question.value) return;
    const draft = draftOf(DRAFT);
    if (!draft) return void this.next();
    [this.question.value, this.answer.value] = JSON.parse(draft);
  }

  close() {
    // the draft outlives this
  }

  async next() {
    try {
      this.show(await supply.next(), "");
    } catch (error) {
      fill(this.last, problem(error));
    }
  }

  /** @param {string} question @param {string} answer */
  show(question, answer) {
    keepDraft(DRAFT, "");
    this.question.value = question;
    this.answer.value = answer;
    this.answer.focus();
  }

  /** @param {string} said */
  draw(said) {
    fill(this.last, said);
    this.undo.disabled = this.given.length === 0;
    announce(said);
  }

  async keep() {
    const [prompt, answer] = [this.question.value.trim(), this.answer.value.trim()];
    if (!prompt || !answer) return this.draw(t("write.missing"));
    this.save.disabled = true;
    try {
      const told = await api.demonstrate(prompt, answer);
      this.given.push({ judgement: told.judgement, prompt, answer });
      this.onCount(told.num);
      await this.next();
      this.draw(t("write.saved", { n: this.given.length }));
    } catch (error) {
      fill(this.last, problem(error));
    } finally {
      this.save.disabled = false;
    }
  }

  async takeBack() {
    const last = this.given.at(-1);
    if (!last) return;
    try {
      const { num } = await api.takeBack(last.judgement.id);
      this.given.pop();
      this.onCount(num);
      this.show(last.prompt, last.answer);
      this.draw(t("judge.taken_back"));
    } catch (error) {
      fill(this.last, problem(error));
    }
  }
}

/** The box in which a question is written: it keeps a draft for each conversation, takes files, and becomes "stop". */

import { fill, h, icon, iconButton } from "./dom.js";
import { problem } from "./notice.js";
import { draftOf, keepDraft, page, strategyOf } from "./state.js";
import { t } from "./strings.js";
import { costOf } from "./topbar.js";
import { Uploads } from "./upload.js";

export class Composer {
  /** @param {import("./chat.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.is_sending = false;
    this.uploads = new Uploads(chat.ending.signal);
    this.errors = h("div", { class: "problems" });
    this.field = h("textarea", {
      class: "ask",
      rows: 1,
      placeholder: t(page.server.library ? "composer.ask_or_drop" : "composer.ask"),
      "aria-label": t("composer.ask"),
      enterkeyhint: "send",
      oninput: () => this.onInput(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
      onpaste: (/** @type {ClipboardEvent} */ event) => this.takeFiles(event.clipboardData, event),
    });
    const picker = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.pick(picker) });
    this.attach = iconButton("attach", t("composer.attach"), () => picker.click());
    this.send = h("button", { type: "submit", class: "icon-button send" });
    this.cost = h("span", { class: "cost" });
    this.element = h(
      "form",
      { class: "composer", onsubmit: (/** @type {Event} */ event) => this.onSubmit(event) },
      ...[this.errors, this.uploads.element],
      h("div", { class: "box" }, this.attach, picker, this.field, this.send),
      this.cost,
    );
    this.listenForDrops();
  }

  /** Show the draft of the conversation that was just opened. */
  open() {
    this.say(null);
    this.field.value = draftOf(this.chat.talk.id);
    this.grow();
    this.draw();
    if (matchMedia("(pointer: fine)").matches) this.field.focus();
  }

  draw() {
    const { talk } = this.chat;
    const is_writing = talk.unfinished !== undefined;
    const label = t(is_writing ? "composer.stop" : "send");
    fill(this.send, icon(is_writing ? "stop" : "send"));
    this.send.title = label;
    this.send.setAttribute("aria-label", label);
    this.send.disabled =
      this.is_sending || page.server.models.length === 0 || (!is_writing && !this.field.value.trim());
    this.attach.hidden = page.server.library === null;
    const strategy = strategyOf(talk.settings.strategy);
    const is_dear = strategy !== undefined && strategy.calls !== 1;
    this.cost.textContent = is_dear ? t("composer.cost", { strategy: strategy.name, cost: costOf(strategy) }) : "";
  }

  /**
   * Show an error above the box, or nothing for null.
   *
   * @param {unknown} error
   * @param {() => void} [again]
   */
  say(error, again) {
    fill(this.errors, error ? problem(error, again) : null);
  }

  onInput() {
    keepDraft(this.chat.talk.id, this.field.value);
    this.grow();
    this.draw();
  }

  /** Grow with the text, where the browser does not do it by itself. */
  grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // Enter may choose a Chinese word
    event.preventDefault();
    if (!this.chat.talk.unfinished) this.element.requestSubmit();
  }

  /** @param {Event} event */
  async onSubmit(event) {
    event.preventDefault();
    const { chat } = this;
    if (chat.talk.unfinished) return void chat.attempt(() => chat.talk.stop());
    const text = this.field.value.trim();
    if (!text || this.is_sending) return;
    this.is_sending = true;
    this.draw();
    const draft = chat.talk.id;
    const was_sent = await chat.send(text);
    this.is_sending = false;
    if (was_sent) {
      keepDraft(draft, "");
      this.field.value = "";
      this.grow();
    }
    this.draw();
  }

  // Files -----------------------------------------------------------------------------------------------------------

  /** @param {HTMLInputElement} picker */
  pick(picker) {
    this.uploads.take([...(picker.files ?? [])]);
    picker.value = "";
  }

  /**
   * @param {DataTransfer | null} data
   * @param {Event} event
   */
  takeFiles(data, event) {
    const files = [...(data?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.uploads.take(files);
  }

  /** Take files that are dropped anywhere on the page. */
  listenForDrops() {
    const { signal } = this.chat.ending;
    const { classList } = document.body;
    /** @param {DragEvent} event */
    const has_files = (event) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener(
      "dragover",
      (event) => {
        if (!has_files(event)) return;
        event.preventDefault();
        classList.add("dropping");
      },
      { signal },
    );
    addEventListener("dragleave", (event) => event.relatedTarget === null && classList.remove("dropping"), { signal });
    addEventListener(
      "drop",
      (event) => {
        classList.remove("dropping");
        if (has_files(event)) this.takeFiles(event.dataTransfer, event);
      },
      { signal },
    );
  }
}

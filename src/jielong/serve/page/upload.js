/** Files on their way into the library, a line each with its progress. */

import { h, icon, iconButton } from "./dom.js";
import { upload } from "./lines.js";
import { page } from "./state.js";
import { t } from "./strings.js";

export class Uploads {
  /**
   * @param {AbortSignal} ending
   * @param {() => void} [onDone]
   */
  constructor(ending, onDone = () => {}) {
    this.ending = ending;
    this.onDone = onDone;
    this.element = h("ul", { class: "uploads", "aria-label": t("upload.list"), "aria-live": "polite" });
    this.element.hidden = true;
  }

  /** @param {File[]} files */
  take(files) {
    for (const file of files) void this.send(file);
  }

  /** @param {File} file */
  async send(file) {
    const stopping = new AbortController();
    const bar = h("progress", { max: 1, "aria-label": file.name });
    const state = h("span", { class: "upload-state" }, t("upload.sending"));
    const close = iconButton("close", t("upload.close"), () => {
      stopping.abort();
      row.remove();
      this.element.hidden = this.element.children.length === 0;
    });
    const row = h("li", {}, icon("library"), h("span", { class: "upload-name" }, file.name), bar, state, close);
    this.element.append(row);
    this.element.hidden = false;
    /** @param {string} message */
    const fail = (message) => {
      bar.remove();
      state.textContent = message;
      row.classList.add("failed");
    };
    if (page.server.library === null) return fail(t("upload.no_library"));
    try {
      for await (const step of upload(file, AbortSignal.any([stopping.signal, this.ending]))) {
        if (step.state === "failed") return fail(step.message);
        if (step.of) bar.value = step.done / step.of;
        state.textContent = t(`upload.${step.state}`);
        if (step.state !== "done") continue;
        bar.remove();
        row.classList.add("done");
        this.onDone();
      }
    } catch (error) {
      if (!stopping.signal.aborted) fail(/** @type {Error} */ (error).message);
    }
  }
}

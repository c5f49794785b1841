/** The library: its documents, adding some, taking one away. */

import { api } from "./api.js";
import { confirmed } from "./dialogs.js";
import { fill, h, icon, iconButton } from "./dom.js";
import { moment, size } from "./format.js";
import { frame } from "./frame.js";
import { notice, problem } from "./notice.js";
import { page } from "./state.js";
import { t } from "./strings.js";
import { Uploads } from "./upload.js";

export class LibraryView {
  /** @param {HTMLElement} main */
  constructor(main) {
    this.ending = new AbortController();
    const picker = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.pick(picker) });
    const add = h(
      "button",
      { type: "button", class: "button primary", onclick: () => picker.click() },
      t("library.add"),
    );
    this.uploads = new Uploads(this.ending.signal, () => void this.load());
    this.list = h("div", {}, h("div", { class: "loading" }));
    const column = frame(main, t("nav.library"), [add, picker]);
    const path = page.server.library?.path;
    fill(column, path ? h("p", { class: "hint" }, t("library.path", { path })) : null, this.uploads.element, this.list);
    const { signal } = this.ending;
    addEventListener("dragover", (event) => event.preventDefault(), { signal });
    addEventListener(
      "drop",
      (event) => {
        event.preventDefault();
        this.uploads.take([...(event.dataTransfer?.files ?? [])]);
      },
      { signal },
    );
    void this.load();
  }

  /** @param {HTMLInputElement} picker */
  pick(picker) {
    this.uploads.take([...(picker.files ?? [])]);
    picker.value = "";
  }

  async load() {
    try {
      const { documents } = await api.library();
      if (page.server.library) page.server.library.num_documents = documents.length;
      fill(this.list, documents.length ? this.table(documents) : this.empty());
    } catch (error) {
      fill(
        this.list,
        problem(error, () => void this.load()),
      );
    }
  }

  empty() {
    return h("div", { class: "empty" }, icon("library"), h("h2", {}, t("library.empty")), h("p", {}, t("library.how")));
  }

  /** @param {LibraryDocument[]} documents */
  table(documents) {
    const heads = /** @type {const} */ (["library.document", "library.passages", "library.size", "library.added"]);
    const rows = documents.map((document) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, document.title),
        h("td", {}, document.num_passages.toLocaleString()),
        h("td", {}, size(document.bytes)),
        h("td", { class: "date" }, moment(document.added)),
        h(
          "td",
          { class: "act" },
          iconButton("trash", t("library.remove", { title: document.title }), () => void this.remove(document)),
        ),
      ),
    );
    return h(
      "table",
      { class: "documents" },
      h("thead", {}, h("tr", {}, ...heads.map((key) => h("th", { scope: "col" }, t(key))), h("td", {}))),
      h("tbody", {}, ...rows),
    );
  }

  /** @param {LibraryDocument} document */
  async remove(document) {
    if (!(await confirmed(t("library.sure", { title: document.title }), t("library.remove_short")))) return;
    try {
      await api.removeDocument(document.id);
    } catch (error) {
      notice(/** @type {Error} */ (error).message);
    }
    await this.load();
  }

  close() {
    this.ending.abort();
  }
}

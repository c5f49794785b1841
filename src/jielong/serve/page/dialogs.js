/** Dialogs: questions that are answered yes or no, a line or a text to edit, a sheet to read, and the form for the key. */

import { api } from "./api.js";
import { fill, h, iconButton } from "./dom.js";
import { t } from "./strings.js";

/**
 * Show a modal dialog; it is taken away when it closes, and the focus goes back.
 *
 * @param {string} title
 * @param {string} kind  a class
 * @param {...(Node | null)} content
 */
export function openDialog(title, kind, ...content) {
  const dialog = h(
    "dialog",
    { class: `dialog ${kind}`, "aria-label": title },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", {}, title),
      iconButton("close", t("close"), () => dialog.close()),
    ),
  );
  for (const part of content) if (part) dialog.append(part);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask whether to do something.
 *
 * @param {string} question
 * @param {string} act  the word on the button
 * @returns {Promise<boolean>}
 */
export function confirmed(question, act) {
  return new Promise((resolve) => {
    const dialog = openDialog(
      act,
      "small",
      h("p", {}, question),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() }, t("cancel")),
        h("button", { type: "button", class: "button danger", onclick: () => dialog.close("yes") }, act),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

/**
 * Ask for a line of text; null where it was left.
 *
 * @param {string} title
 * @param {string} value
 * @returns {Promise<string | null>}
 */
export function editLine(title, value) {
  return edit(title, "small", h("input", { class: "field", "aria-label": title, value, maxlength: 200 }));
}

/**
 * Ask for a longer text; null where it was left.
 *
 * @param {string} title
 * @param {string} value
 * @returns {Promise<string | null>}
 */
export function editText(title, value) {
  const field = h("textarea", { class: "field", rows: 10, "aria-label": title });
  field.value = value;
  return edit(title, "", field);
}

/**
 * @param {string} title
 * @param {string} kind
 * @param {HTMLInputElement | HTMLTextAreaElement} field
 * @returns {Promise<string | null>}
 */
function edit(title, kind, field) {
  return new Promise((resolve) => {
    const form = h(
      "form",
      { method: "dialog", onsubmit: () => (dialog.returnValue = "yes") },
      field,
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("cancel")),
        h("button", { class: "button primary", value: "yes" }, t("save")),
      ),
    );
    const dialog = openDialog(title, kind, form);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? field.value : null));
    field.focus();
    field.select();
  });
}

/** Ask for the server's key, and load the page again when it is right. */
export function askForKey() {
  if (document.getElementById("login")) return;
  const field = h("input", {
    class: "field",
    type: "password",
    id: "key",
    autocomplete: "current-password",
    required: true,
  });
  const wrong = h("p", { class: "bad", role: "alert" });
  const form = h(
    "form",
    {
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          await api.login(field.value);
          location.reload();
        } catch (error) {
          fill(wrong, /** @type {Error} */ (error).message);
          field.select();
        }
      },
    },
    h("h1", {}, "接龙 Jielong"),
    h("p", {}, t("login.why")),
    h("label", { for: "key" }, t("login.key")),
    field,
    wrong,
    h("button", { class: "button primary" }, t("login.enter")),
  );
  const dialog = h("dialog", { class: "dialog small login", id: "login", "aria-label": t("login.enter") }, form);
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it to go back to
  document.body.append(dialog);
  dialog.showModal();
  field.focus();
}

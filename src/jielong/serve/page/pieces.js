/** Pieces that the ways of judging share. */

import { addCopyButtons } from "./code.js";
import { fill, h, setHtml } from "./dom.js";
import { t } from "./strings.js";

/**
 * A button with the key that does the same.
 *
 * @param {string} key  as it is shown
 * @param {string} name  as browsers call it
 * @param {string} label
 * @param {() => void} onclick
 */
export function button(key, name, label, onclick) {
  return h(
    "button",
    { type: "button", class: "button keyed", "aria-keyshortcuts": name, onclick },
    h("kbd", { "aria-hidden": "true" }, key),
    label,
  );
}

/**
 * One answer under its heading.
 *
 * @param {string} title
 * @param {{ text: string, html: string }} answer
 */
export function card(title, answer) {
  return h("article", { class: "card", "aria-label": title }, h("h2", {}, title), answerBody(answer));
}

/** The text of an answer. @param {{ text: string, html: string }} answer */
export function answerBody(answer) {
  const body = h("div", { class: "prose text" });
  if (answer.text.trim()) setHtml(body, answer.html);
  else fill(body, h("p", { class: "hint" }, t("judge.empty_answer")));
  addCopyButtons(body);
  return body;
}

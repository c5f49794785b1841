/** Tokens as elements: white space visible, bytes of shared characters in hexadecimal. */

import { h } from "./dom.js";
import { tokenParts, visible } from "./format.js";

/**
 * Build a token's text; line breaks are kept after their mark, so that a text of tokens reads as text.
 *
 * @param {string} text
 */
export function tokenNode(text) {
  const node = document.createDocumentFragment();
  for (const part of tokenParts(text)) {
    if (part.kind === "text") node.append(part.text);
    else if (part.kind === "byte") node.append(h("span", { class: "byte" }, part.text));
    else node.append(...spaces(part.text));
  }
  return node;
}

/**
 * Build a token of a text that can be pressed; white space alone says its signs to a screen reader.
 *
 * @param {string} text
 * @param {Record<string, any>} props
 */
export function tokenButton(text, props) {
  const button = h("span", { role: "button", ...props }, tokenNode(text));
  if (!button.textContent?.trim()) button.setAttribute("aria-label", visible(text) || "∅");
  return button;
}

/** @param {string} marks */
function spaces(marks) {
  return [...marks].map((mark) =>
    mark === "↵"
      ? h("span", {}, h("span", { class: "space" }, mark), "\n")
      : mark === "␣"
        ? " "
        : h("span", { class: "space" }, mark),
  );
}

/**
 * Build a token for a place where it stands alone: every space is marked.
 *
 * @param {string} text
 */
export function loneToken(text) {
  return h(
    "code",
    { class: "lone" },
    ...tokenParts(text).map((part) => (part.kind === "text" ? part.text : h("span", { class: part.kind }, part.text))),
    text === "" ? h("span", { class: "space" }, "∅") : null,
  );
}

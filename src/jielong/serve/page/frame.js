/** The frame that all views but the chat share: a heading, a line about it, and a column below. */

import { fill, h, iconButton } from "./dom.js";
import { openNav } from "./nav.js";
import { t } from "./strings.js";

/**
 * Put a view into the page and return its column.
 *
 * @param {HTMLElement} main
 * @param {string} title
 * @param {Node[]} [beside] what stands at the right of the heading
 */
export function frame(main, title, beside = []) {
  document.title = `${title} · Jielong`;
  const column = h("div", { class: "view-column" });
  fill(
    main,
    h(
      "header",
      { class: "topbar" },
      iconButton("menu", t("nav.open"), openNav, { class: "icon-button nav-button" }),
      h("h1", { class: "view-title" }, title),
      h("span", { class: "grow" }),
      ...beside,
    ),
    h("div", { class: "view", role: "region", "aria-label": title, tabindex: 0 }, column),
  );
  return column;
}

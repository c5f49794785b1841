/** Menus and popovers that hang on a button: placed beside it, walked by arrow keys, closed by Escape or a tap outside. */

import { h, icon } from "./dom.js";

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {() => void} [act]  absent: a heading
 * @property {import("./dom.js").IconName} [icon]
 * @property {string} [detail]
 * @property {boolean} [is_chosen]  given: one of several, and whether it is the one
 * @property {boolean} [is_danger]
 * @property {string} [href]  a download instead of an act
 */

/**
 * Open a menu below or above its button.
 *
 * @param {HTMLElement} anchor
 * @param {MenuItem[]} items
 */
export function openMenu(anchor, items) {
  const menu = h("div", {
    class: "popover menu",
    role: "menu",
    "aria-label": anchor.getAttribute("aria-label") ?? anchor.title,
  });
  for (const item of items) menu.append(entry(item, menu));
  menu.addEventListener("keydown", (event) => walk(menu, event));
  openPopover(anchor, menu);
  const chosen = menu.querySelector("[aria-checked=true]") ?? menu.querySelector("[role^=menuitem]");
  /** @type {HTMLElement | null} */ (chosen)?.focus();
}

/** @param {MenuItem} item @param {HTMLElement} menu */
function entry(item, menu) {
  if (!item.act && !item.href) return h("div", { class: "menu-heading", role: "presentation" }, item.label);
  const is_choice = item.is_chosen !== undefined;
  const props = {
    class: `menu-item${item.is_danger ? " danger" : ""}`,
    role: is_choice ? "menuitemradio" : "menuitem",
    "aria-checked": is_choice ? String(item.is_chosen) : undefined,
    tabindex: -1,
    onclick: () => {
      menu.hidePopover();
      item.act?.();
    },
  };
  const mark = is_choice
    ? h("span", { class: "tick" }, item.is_chosen ? icon("check") : null)
    : item.icon
      ? icon(item.icon)
      : null;
  const text = h("span", { class: "menu-text" }, item.label, item.detail ? h("small", {}, item.detail) : null);
  return item.href
    ? h("a", { ...props, href: item.href, download: "" }, mark, text)
    : h("button", { ...props, type: "button" }, mark, text);
}

/** @param {HTMLElement} menu @param {KeyboardEvent} event */
function walk(menu, event) {
  const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role^=menuitem]")]);
  const place = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const last = items.length - 1;
  const next = {
    ArrowDown: place === last ? 0 : place + 1,
    ArrowUp: place <= 0 ? last : place - 1,
    Home: 0,
    End: last,
  }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  items[next].focus();
}

/**
 * Show an element as a popover at a button, and take it away when it closes. The focus goes back to the button.
 *
 * @param {HTMLElement} anchor
 * @param {HTMLElement} popover
 */
export function openPopover(anchor, popover) {
  popover.setAttribute("popover", "auto");
  (anchor.closest("main, nav, aside") ?? document.body).append(popover);
  anchor.setAttribute("aria-expanded", "true");
  popover.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "open") return;
    const had_focus = popover.contains(document.activeElement) || document.activeElement === document.body;
    popover.remove();
    anchor.setAttribute("aria-expanded", "false");
    if (had_focus && anchor.isConnected) anchor.focus();
  });
  popover.showPopover();
  place(anchor, popover);
}

/** @param {HTMLElement} anchor @param {HTMLElement} popover */
function place(anchor, popover) {
  const gap = 6;
  const edge = 8;
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const below = innerHeight - box.bottom - gap - edge;
  const above = box.top - gap - edge;
  const is_below = height <= below || below >= above;
  const left = Math.min(Math.max(edge, box.left), innerWidth - width - edge);
  popover.style.left = `${Math.max(edge, left)}px`;
  popover.style.maxHeight = `${Math.max(120, is_below ? below : above)}px`;
  popover.style.top = is_below
    ? `${box.bottom + gap}px`
    : `${Math.max(edge, box.top - gap - Math.min(height, above))}px`;
}

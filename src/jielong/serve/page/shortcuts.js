/** What the keyboard does anywhere on the page, and the list of it. */

import { openDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { closeNav, openNav } from "./nav.js";
import { t } from "./strings.js";
import { toggleLens } from "./topbar.js";

/** @typedef {import("./strings.js").Key} Key */

const LIST = /** @type {[string, Key][]} */ ([
  ["n", "shortcuts.new"],
  ["/", "shortcuts.search"],
  ["i", "shortcuts.write"],
  ["l", "shortcuts.lens"],
  ["← →", "shortcuts.tokens"],
  ["Enter", "shortcuts.enter"],
  ["Esc", "shortcuts.stop"],
  ["Enter ", "shortcuts.send"],
  ["Shift Enter", "shortcuts.line"],
  ["?", "shortcuts.help"],
  ["← → ↑ ↓", "shortcuts.vote"],
  ["e", "shortcuts.better"],
  ["n ", "shortcuts.next"],
  ["z", "shortcuts.undo"],
]);

/** Keys and what they do; false leaves a key to the browser. @typedef {Record<string, () => unknown>} Keys */

/** @type {Keys} */
const KEYS = {
  n: () => (location.hash = "#/"),
  "/": () => {
    openNav();
    /** @type {HTMLElement | null} */ (document.querySelector(".nav .search"))?.focus();
  },
  i: () => /** @type {HTMLElement | null} */ (document.querySelector(".ask"))?.focus(),
  l: toggleLens,
  "?": showShortcuts,
  "？": showShortcuts,
};

/**
 * Listen for shortcuts.
 *
 * @param {() => boolean} stop  end what runs; says whether there was anything to end
 * @param {() => Keys} keysOfView  the keys of the view that is shown, which come first
 */
export function listenForKeys(stop, keysOfView) {
  addEventListener("jielong:shortcuts", showShortcuts);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open], :popover-open")) return;
    if (event.key === "Escape") {
      closeNav();
      if (stop()) event.preventDefault();
      return;
    }
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, select, [contenteditable]")) return;
    const act = keysOfView()[event.key] ?? KEYS[event.key];
    if (act && act() !== false) event.preventDefault();
  });
}

function showShortcuts() {
  const rows = LIST.map(([keys, what]) =>
    h(
      "div",
      {},
      h(
        "dt",
        {},
        ...keys
          .trim()
          .split(" ")
          .map((key) => h("kbd", {}, key)),
      ),
      h("dd", {}, t(what)),
    ),
  );
  openDialog(t("shortcuts.title"), "small", h("dl", { class: "shortcuts" }, ...rows));
}

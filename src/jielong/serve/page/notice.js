/** What the page says aside: quiet notices at its foot, errors in place with a way to try again, words for screen readers. */

import { ApiError } from "./api.js";
import { h, icon } from "./dom.js";
import { t } from "./strings.js";

const spoken = /** @type {HTMLElement} */ (document.getElementById("spoken"));
const noticed = /** @type {HTMLElement} */ (document.getElementById("notice"));
let timer = 0;

/**
 * Have a screen reader say something when it has time.
 *
 * @param {string} text
 */
export function announce(text) {
  spoken.textContent = text;
}

/**
 * Show a notice for some milliseconds; 0 leaves it until the next one.
 *
 * @param {string} text
 * @param {number} [ms]
 */
export function notice(text, ms = 4000) {
  clearTimeout(timer);
  noticed.textContent = text;
  noticed.classList.add("shown");
  if (ms) timer = window.setTimeout(() => noticed.classList.remove("shown"), ms);
}

/**
 * Build an error to be shown where it happened.
 *
 * @param {unknown} error
 * @param {() => void} [again]
 */
export function problem(error, again) {
  const is_refused = error instanceof ApiError && [400, 422].includes(error.status); // the same would be refused again
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warning"),
    h("p", {}, error instanceof Error ? error.message : String(error)),
    again && !is_refused ? h("button", { type: "button", class: "button", onclick: again }, t("retry")) : null,
  );
}

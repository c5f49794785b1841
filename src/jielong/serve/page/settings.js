/** The page's theme and language, as chosen here or as the system and the server have them. */

import { choices, choose, page } from "./state.js";
import { speak } from "./strings.js";

export const themes = /** @type {const} */ (["auto", "light", "dark"]);

/** @param {"auto" | "light" | "dark"} theme */
export function setTheme(theme) {
  choose({ theme });
  applyTheme();
}

export function applyTheme() {
  document.documentElement.dataset.theme = choices.theme;
}

/**
 * Change the language. The page is loaded anew: drafts, choices and answers under way all survive that.
 *
 * @param {"en" | "zh"} language
 */
export function setLanguage(language) {
  choose({ language });
  location.reload();
}

export function applyLanguage() {
  const language = choices.language || page.server.language;
  speak(language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

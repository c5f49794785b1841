/** Copy buttons on the code blocks of an answer. */

import { copyText, h, icon } from "./dom.js";
import { t } from "./strings.js";

/** @param {Element} prose */
export function addCopyButtons(prose) {
  for (const block of prose.querySelectorAll("pre")) {
    const language = block.querySelector("code")?.className.match(/language-([\w+#-]+)/)?.[1] ?? "";
    const button = h(
      "button",
      {
        type: "button",
        class: "icon-button",
        title: t("code.copy"),
        "aria-label": t("code.copy"),
        onclick: () => copyText(button, block.textContent ?? ""),
      },
      icon("copy"),
    );
    const frame = h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", {}, language), button));
    block.replaceWith(frame);
    block.tabIndex = 0; // a block that scrolls sideways must be reachable by keyboard
    frame.append(block);
  }
}

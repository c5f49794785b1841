/** What an empty conversation shows: who would answer, and where to begin. */

import { h, icon } from "./dom.js";
import { page } from "./state.js";
import { t } from "./strings.js";

/** @param {import("./chat.js").Chat} chat */
export function welcome(chat) {
  const { model } = chat;
  const tries = /** @type {const} */ (["welcome.try_1", "welcome.try_2", "welcome.try_3"]);
  /** @param {string} text */
  const begin = (text) => {
    chat.composer.field.value = text;
    chat.composer.onInput();
    chat.composer.field.focus();
  };
  return h(
    "div",
    { class: "welcome" },
    h("h2", {}, model ? t("welcome.title", { model: model.title }) : t("welcome.no_model")),
    h("p", {}, model ? t(model.is_base ? "welcome.base" : "welcome.text") : t("welcome.how_model")),
    model
      ? h(
          "ul",
          {},
          ...tries.map((key) => h("li", {}, h("button", { type: "button", onclick: () => begin(t(key)) }, t(key)))),
        )
      : null,
    model?.has_lens ? h("p", { class: "hint" }, icon("lens"), h("span", {}, t("welcome.lens"))) : null,
    page.server.library
      ? h(
          "p",
          { class: "hint" },
          icon("library"),
          h("span", {}, t("welcome.library", { n: page.server.library.num_documents })),
        )
      : null,
  );
}

/** The dialog in which a person writes an answer that is better than those of a pair. */

import { openDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { t } from "./strings.js";

/**
 * Ask for a better answer, begun from one of two; null where it was left or nothing was changed.
 *
 * @param {DrawnAnswer[]} answers
 * @returns {Promise<{ rejected: string, text: string } | null>}
 */
export function editBetter(answers) {
  return new Promise((resolve) => {
    let chosen = answers[0];
    const field = h("textarea", { class: "field", rows: 8, "aria-label": t("judge.better") });
    field.value = chosen.text;
    const sides = /** @type {const} */ (["judge.left_answer", "judge.right_answer"]);
    const pick = answers.map((answer, place) => {
      const input = h("input", {
        type: "radio",
        name: "rejected",
        onchange: () => {
          if (field.value === chosen.text) field.value = answer.text; // what was written already stays
          chosen = answer;
        },
      });
      input.checked = place === 0;
      return h("label", { class: "check" }, input, t(sides[place]));
    });
    const form = h(
      "form",
      { method: "dialog", onsubmit: () => (dialog.returnValue = "yes") },
      h("fieldset", { class: "picked" }, h("legend", {}, t("judge.replaced")), ...pick),
      field,
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("cancel")),
        h("button", { class: "button primary", value: "yes" }, t("save")),
      ),
    );
    const dialog = openDialog(t("judge.better"), "", form);
    dialog.addEventListener("close", () => {
      const text = field.value.trim();
      const is_written = dialog.returnValue === "yes" && text !== "" && text !== chosen.text.trim();
      resolve(is_written ? { rejected: chosen.id, text } : null);
    });
    field.focus();
    field.select();
  });
}

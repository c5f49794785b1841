/** The exact prompt that a model read, token by token, with its special tokens set apart. */

import { openDialog } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";
import { tokenNode } from "./tokens.js";

/**
 * @param {Turn} turn
 * @param {import("./lens.js").LensPanel} lens
 */
export async function showPrompt(turn, lens) {
  const content = h("div", { class: "prompt-tokens", tabindex: 0 }, h("div", { class: "loading" }));
  const numbers = h("p", { class: "hint" });
  openDialog(t("prompt.title"), "wide", numbers, content);
  try {
    const { prompt } = await lens.of(turn.id);
    const num_special = prompt.filter((token) => token.is_special).length;
    numbers.textContent = t("prompt.numbers", { n: prompt.length, special: num_special });
    fill(
      content,
      prompt.map((token) =>
        h(
          "span",
          { class: token.is_special ? "pt special" : "pt", title: t("token.id", { id: token.id }) },
          tokenNode(token.text),
        ),
      ),
    );
  } catch (error) {
    fill(content, problem(error));
  }
}

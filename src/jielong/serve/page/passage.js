/** A passage of the library that an answer rests on, with what stands before and after it. */

import { api } from "./api.js";
import { openDialog } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { fileName } from "./format.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";

/**
 * @param {Turn} turn
 * @param {number} n
 */
export async function showPassage(turn, n) {
  const content = h("div", { class: "passage", tabindex: 0 }, h("div", { class: "loading" }));
  openDialog(t("passage.title", { n }), "side", content);
  try {
    const passage = await api.passage(turn.id, n);
    fill(
      content,
      h("h3", { title: passage.title }, fileName(passage.title)),
      passage.place ? h("p", { class: "place" }, passage.place) : null,
      h("p", { class: "around" }, passage.before),
      h("blockquote", {}, passage.text),
      h("p", { class: "around" }, passage.after),
      /^https?:/.test(passage.url)
        ? h("p", {}, h("a", { href: passage.url, target: "_blank", rel: "noopener noreferrer" }, passage.url))
        : null,
    );
  } catch (error) {
    fill(content, problem(error));
  }
}

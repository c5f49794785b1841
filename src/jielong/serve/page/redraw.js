/** Drawing an answer again: alone, in float32, with the same seed. Equal ids show that nothing around it changed it. */

import { api } from "./api.js";
import { openDialog } from "./dialogs.js";
import { fill, h, icon } from "./dom.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";

/** @param {Turn} turn */
export async function redraw(turn) {
  const content = h(
    "div",
    { class: "redraw", role: "status" },
    h("p", {}, t("redraw.runs")),
    h("div", { class: "loading" }),
  );
  openDialog(t("redraw.title"), "small", content);
  try {
    const { is_equal, first_difference, ids, weights } = await api.redraw(turn.id);
    const verdict = is_equal
      ? t("redraw.equal", { n: ids.length })
      : t("redraw.differs", { n: (first_difference ?? 0) + 1 });
    fill(
      content,
      h("p", { class: is_equal ? "verdict good" : "verdict" }, icon(is_equal ? "check" : "warning"), verdict),
      h("p", { class: "hint" }, t(is_equal ? "redraw.means_equal" : "redraw.means_differs", { weights })),
    );
  } catch (error) {
    fill(content, problem(error));
  }
}

/** The tokens that stood to choose from: as the model gives them, at the temperature, and after the filters. */

import { fill, h, icon } from "./dom.js";
import { count, percent, short, visible } from "./format.js";
import { t } from "./strings.js";
import { loneToken } from "./tokens.js";

/**
 * @param {Token} token
 * @param {(id: number) => void} take
 */
export function candidates(token, take) {
  const is_drawn = token.uniform !== null;
  const has_tempered = is_drawn && token.likeliest.some((one) => Math.abs(one.model - one.tempered) > 1e-6);
  const has_left = token.cuts.some((cut) => cut.num_ids > 0);
  const heads = [t("candidates.model")];
  if (has_tempered)
    heads.push(
      token.temperature === 1 ? t("candidates.penalised") : t("candidates.at", { n: short(token.temperature) }),
    );
  if (has_left) heads.push(t("candidates.left"));
  const rows = token.likeliest.map((one) => {
    const is_taken = one.id === token.id;
    const cells = [cell(one.model, "before")];
    if (has_tempered) cells.push(cell(one.tempered, "tempered"));
    if (has_left)
      cells.push(
        one.cut || one.left === 0 ? h("td", { class: "cut-by" }, filterName(one.cut)) : cell(one.left, "left"),
      );
    return h(
      "tr",
      { class: `${is_taken ? "taken" : ""}${one.cut ? " cut" : ""}` },
      h("th", { scope: "row", title: `${visible(one.text)} · ${t("token.id", { id: one.id })}` }, loneToken(one.text)),
      cells,
      h("td", { class: "act" }, is_taken ? takenMark() : takeButton(one, take)),
    );
  });
  return h(
    "table",
    { class: "candidates" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, t("candidates.token")),
        heads.map((head) => h("th", { scope: "col" }, head)),
        h("td", {}),
      ),
    ),
    h("tbody", {}, rows),
  );
}

/** @param {number} probability @param {string} kind */
function cell(probability, kind) {
  const bar = h("i", { class: kind });
  bar.style.width = `${100 * probability}%`;
  return h("td", {}, h("span", {}, percent(probability)), h("span", { class: "bar", "aria-hidden": "true" }, bar));
}

function takenMark() {
  return h(
    "span",
    { class: "taken-mark", role: "img", "aria-label": t("candidates.taken"), title: t("candidates.taken") },
    icon("check"),
  );
}

/** @param {Candidate} one @param {(id: number) => void} take */
function takeButton(one, take) {
  const label = t("candidates.take", { token: visible(one.text) });
  return h(
    "button",
    { type: "button", class: "icon-button", title: label, "aria-label": label, onclick: () => take(one.id) },
    icon("branch"),
  );
}

/** @param {string} filter */
function filterName(filter) {
  return filter === "mask" ? t("filter.mask") : filter || t("filter.gone");
}

/**
 * What each filter cut away, in words.
 *
 * @param {Token} token
 */
export function cutsLine(token) {
  if (token.cuts.length === 0) return null;
  const list = h("ul", { class: "cuts" });
  fill(
    list,
    token.cuts.map((cut) =>
      h(
        "li",
        {},
        h("b", {}, filterName(cut.filter)),
        " ",
        cut.num_ids ? t("cuts.cut", { n: cut.num_ids, p: percent(cut.probability) }) : t("cuts.none"),
      ),
    ),
    h("li", {}, t("cuts.left", { n: count(token.num_left) })),
  );
  return list;
}

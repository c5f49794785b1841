/** Parts of the lens that are fetched when they are unfolded: the logit lens, and whether a tool would be called. */

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { percent, visible } from "./format.js";
import { problem } from "./notice.js";
import { page } from "./state.js";
import { t } from "./strings.js";
import { loneToken } from "./tokens.js";

/** @typedef {import("./lens.js").LensPanel} LensPanel */

/**
 * A folded part that loads itself when it is opened, and stays open from token to token.
 *
 * @param {LensPanel} panel
 * @param {string} name
 * @param {string} title
 * @param {() => Promise<Node>} load
 */
function folded(panel, name, title, load) {
  const content = h("div", {}, h("div", { class: "loading" }));
  const part = h("details", { class: name, open: panel.is_open[name] }, h("summary", {}, title), content);
  let is_loaded = false;
  const fetchOnce = async () => {
    panel.is_open[name] = part.open;
    if (!part.open || is_loaded) return;
    is_loaded = true;
    try {
      fill(content, await load());
    } catch (error) {
      is_loaded = false;
      fill(
        content,
        problem(error, () => void fetchOnce()),
      );
    }
  };
  part.addEventListener("toggle", () => void fetchOnce());
  if (part.open) void fetchOnce();
  return part;
}

/**
 * The logit lens: each layer's likeliest tokens, if it were the last.
 *
 * @param {LensPanel} panel
 * @param {Token} token
 */
export function layers(panel, token) {
  const { answer } = panel;
  if (!panel.has_layers) return null;
  return folded(panel, "layers", t("layers.title"), async () => table(await api.layers(answer, token.n), token));
}

/** @param {{ layers: LayerReading[] }} reading @param {Token} token */
function table({ layers }, token) {
  const rows = layers.toReversed().map(({ layer, likeliest, p_taken }) => {
    const bar = h("i", { class: "left" });
    bar.style.width = `${100 * p_taken}%`;
    const names = likeliest.map((one) =>
      h(
        "span",
        { class: one.id === token.id ? "hit" : "", title: `${visible(one.text)} ${percent(one.p)}` },
        loneToken(one.text),
      ),
    );
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, layer),
      h("td", { class: "names" }, h("div", {}, ...names)),
      h("td", { class: "p" }, h("span", {}, percent(p_taken)), h("span", { class: "bar", "aria-hidden": "true" }, bar)),
    );
  });
  return h(
    "div",
    {},
    h("p", { class: "hint" }, t("layers.meaning")),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, t("layers.layer")),
          h("th", { scope: "col" }, t("layers.likeliest")),
          h("th", { scope: "col" }, t("layers.taken")),
        ),
      ),
      h("tbody", {}, rows),
    ),
  );
}

/**
 * How likely the model was to call a tool instead of answering.
 *
 * @param {LensPanel} panel
 */
export function toolChance(panel) {
  if (page.server.tools.length === 0) return null;
  const { answer } = panel;
  return folded(panel, "tool-chance", t("chance.title"), async () => {
    const { p_call, p_answer } = await api.toolChance(answer);
    if (p_call === null || p_answer === null) return h("p", { class: "hint" }, t("chance.none"));
    const bar = h("i", { class: "left" });
    bar.style.width = `${(100 * p_call) / (p_call + p_answer || 1)}%`;
    return h(
      "div",
      {},
      h("p", {}, t("chance.says", { call: percent(p_call), answer: percent(p_answer) })),
      h("span", { class: "bar", "aria-hidden": "true" }, bar),
    );
  });
}

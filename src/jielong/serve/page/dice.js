/**
 * The throw of the dice as a bar from 0 to 1: the tokens that were left lie end to end in the order of their ids, each as
 * wide as its probability, and the number that was drawn falls into one of them. The interval of the token taken is
 * exact. Of the others only the likeliest are known, so the rest is put together at the two ends.
 */

import { h } from "./dom.js";
import { percent, visible } from "./format.js";
import { t } from "./strings.js";

/** @typedef {{ name: string, width: number, kind: "taken" | "known" | "rest" }} Segment */

/** Segments narrower than this share of the bar carry no name. */
const NAMED = 0.1;

/**
 * The segments of the bar from left to right.
 *
 * @param {Token} token
 * @returns {Segment[]}
 */
function segments(token) {
  const known = token.likeliest.filter((one) => one.left > 0 && one.id !== token.id).sort((a, b) => a.id - b.id);
  /** @param {Candidate} one @returns {Segment} */
  const segment = (one) => ({ name: visible(one.text), width: one.left, kind: "known" });
  const below = known.filter((one) => one.id < token.id).map(segment);
  const above = known.filter((one) => one.id > token.id).map(segment);
  /** @param {number} whole @param {Segment[]} parts @returns {Segment} */
  const rest = (whole, parts) => {
    const width = whole - parts.reduce((sum, part) => sum + part.width, 0);
    return { name: t("dice.others"), width: Math.max(0, width), kind: "rest" };
  };
  /** @type {Segment} */
  const taken = { name: visible(token.text), width: token.high - token.low, kind: "taken" };
  const all = [rest(token.low, below), ...below, taken, ...above, rest(1 - token.high, above)];
  return all.filter((one) => one.kind === "taken" || one.width > 1e-4);
}

/** @param {Token} token */
export function dice(token) {
  if (token.uniform === null)
    return h("p", { class: "greedy" }, t(token.rank === 1 ? "dice.greedy" : "dice.greedy_left"));
  const bar = h("div", { class: "dice-bar", "aria-hidden": "true" });
  for (const { name, width, kind } of segments(token)) {
    const part = h("div", { class: kind, title: `${name} ${percent(width)}` }, width >= NAMED ? name : "");
    part.style.flexGrow = String(width);
    bar.append(part);
  }
  const mark = h("span", { class: "dice-mark", "aria-hidden": "true" });
  mark.style.left = `${100 * token.uniform}%`;
  const value = h("span", { class: "dice-value", "aria-hidden": "true" }, token.uniform.toFixed(4));
  value.style.left = `clamp(1.5em, ${100 * token.uniform}%, 100% - 1.5em)`;
  const numbers = { number: token.uniform.toFixed(4), low: token.low.toFixed(4), high: token.high.toFixed(4) };
  return h(
    "div",
    { class: "dice" },
    h("div", { class: "dice-rail" }, bar, mark, value),
    h("div", { class: "dice-ends", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, "1")),
    h("p", {}, t(token.num_left === 1 ? "dice.only" : "dice.fell", numbers)),
  );
}

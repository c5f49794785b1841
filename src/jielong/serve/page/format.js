/** Numbers, times and tokens as they are shown. */

import { language, t } from "./strings.js";

/** @param {number} value */
export function count(value) {
  return value.toLocaleString(locale());
}

function locale() {
  return language() === "zh" ? "zh-CN" : "en-GB";
}

/**
 * A probability in percent, as long as it takes to tell it from 0 and from 1.
 *
 * @param {number} probability
 */
export function percent(probability) {
  const share = 100 * probability;
  if (share > 0 && share < 0.01) return "<0.01%";
  if (share > 99.99 && share < 100) return ">99.99%";
  if (share === 0 || share === 100) return `${share}%`;
  return share < 1 || share > 99 ? `${share.toFixed(2)}%` : `${share.toFixed(1)}%`;
}

/**
 * A number as short as it can be read: 1200 -> 1,200, 0.0312 -> 0.031, 2.0 -> 2.
 *
 * @param {number} value
 */
export function short(value) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 100) return count(Math.round(value));
  if (size >= 1) return String(Number(value.toFixed(2)));
  return size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(2)));
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/**
 * A document's name without the folders that it lies in; an address stays whole.
 *
 * @param {string} source
 */
export function fileName(source) {
  return source.includes("://") ? source : (source.split(/[\\/]/).pop() ?? source);
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return t("seconds", { n: short(Math.round(seconds * 10) / 10) });
  if (seconds < 5400) return t("minutes", { n: Math.round(seconds / 60) });
  return t("hours", { n: short(Math.round(seconds / 360) / 10) });
}

/** Parts in a row: "2 pairs and 1 mark". @param {string[]} parts */
export function listed(parts) {
  return new Intl.ListFormat(locale()).format(parts);
}

/** @param {number} time */
export function moment(time) {
  return new Date(time * 1000).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
}

/**
 * The heading under which a conversation stands: today, yesterday, last week, or its month.
 *
 * @param {number} time
 * @param {Date} [now]
 */
export function dayHeading(time, now = new Date()) {
  const date = new Date(time * 1000);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const days = Math.ceil((midnight - date.getTime()) / 86_400_000);
  if (days <= 0) return t("day.today");
  if (days === 1) return t("day.yesterday");
  if (days <= 7) return t("day.week");
  return date.toLocaleDateString(locale(), { month: "long", year: "numeric" });
}

// Tokens -----------------------------------------------------------------------------------------------------------

/** @typedef {{ text: string, kind: "text" | "space" | "byte" }} TokenPart */

/** Signs for white space; most come from the server as signs already. */
const MARKS = /** @type {Record<string, string>} */ ({
  ...{ "␣": "␣", "↵": "↵", "⇥": "⇥", "␍": "␍" },
  ...{ " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\u3000": "□" },
});

/**
 * Part a token's text into plain text, visible white space, control characters, and bytes of a character that tokens
 * share. The server writes such a byte as \xe4, or as the half of a surrogate pair that Python's "surrogateescape" makes
 * of it.
 *
 * @param {string} text
 * @returns {TokenPart[]}
 */
export function tokenParts(text) {
  /** @type {TokenPart[]} */
  const parts = [];
  for (const [unit] of text.matchAll(/\\x[0-9a-f]{2}|./gsu)) {
    const part = partOf(unit);
    const last = parts.at(-1);
    if (last && last.kind === part.kind) last.text += part.kind === "byte" ? ` ${part.text}` : part.text;
    else parts.push(part);
  }
  return parts;
}

/** @param {string} char one, or a byte such as \xe4 @returns {TokenPart} */
function partOf(char) {
  if (char.length === 4) return { text: char.slice(2).toUpperCase(), kind: "byte" };
  const code = char.codePointAt(0) ?? 0;
  if (char in MARKS) return { text: MARKS[char], kind: "space" };
  if (char === "\ufffd") return { text: "??", kind: "byte" };
  const is_byte = code >= 0xdc80 && code <= 0xdcff;
  const is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
  if (!is_byte && !is_control) return { text: char, kind: "text" };
  return { text: (code & 0xff).toString(16).toUpperCase().padStart(2, "0"), kind: "byte" };
}

/**
 * A token's text in one string with white space visible.
 *
 * @param {string} text
 */
export function visible(text) {
  return tokenParts(text)
    .map((part) => part.text)
    .join("");
}

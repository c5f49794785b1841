/** One model's column in the comparison, and the table of all models at one token. */

import { fill, h } from "./dom.js";
import { percent, short } from "./format.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";
import { loneToken, tokenButton } from "./tokens.js";

/** Where the steps of the colours begin, in nats. */
export const NATS = [0.05, 0.2, 0.5, 1, 2];

/** @param {number} nats */
const step = (nats) => NATS.filter((start) => nats >= start).length;

export class ComparedColumn {
  /**
   * @param {string} name
   * @param {string} title
   * @param {(n: number) => void} show
   */
  constructor(name, title, show) {
    this.name = name;
    this.title = title;
    this.show = show;
    /** @type {ComparedAnswer | null} */
    this.answer = null;
    this.body = h("div", {}, h("div", { class: "loading" }));
    this.reading = h("div", { class: "reading" });
    this.moved = h("span", { class: "moved" });
    this.element = h(
      "section",
      { class: "compared-column", "aria-label": title },
      h("h2", {}, title, this.moved),
      this.body,
      this.reading,
    );
  }

  /** @param {ComparedAnswer} answer */
  take(answer) {
    this.answer = answer;
    fill(
      this.body,
      answer.is_base ? h("p", { class: "hint" }, t("compare.base")) : null,
      answer.text.trim()
        ? h("p", { class: "compared-text" }, answer.text)
        : h("p", { class: "hint" }, t("compare.nothing")),
    );
  }

  /** @param {string} message */
  fail(message) {
    fill(this.body, problem(new Error(message)));
  }

  end() {
    if (!this.answer && this.body.querySelector(".loading")) this.fail(t("compare.ended"));
  }

  /**
   * Show the last model's tokens, coloured by how far this model is from it at each.
   *
   * @param {ComparedAnswer} last
   * @param {boolean} is_last
   */
  drawReading(last, is_last) {
    const divergences = this.answer?.reading?.divergences;
    if (!divergences && !is_last) return;
    const mean = divergences?.length ? divergences.reduce((sum, one) => sum + one, 0) / divergences.length : 0;
    fill(this.moved, is_last ? t("compare.last") : t("compare.moved", { nats: short(mean) }));
    fill(
      this.reading,
      h("h3", {}, t(is_last ? "compare.tokens" : "compare.reads")),
      h(
        "p",
        { class: "tokens", dataset: { colour: "surprise" }, onkeydown: walk },
        ...last.tokens.map((token, n) => this.token(token, n, divergences?.[n] ?? 0)),
      ),
    );
  }

  /** @param {ComparedToken} token @param {number} n @param {number} nats */
  token(token, n, nats) {
    const show = () => this.show(n);
    const props = { class: `t s${step(nats)}`, tabindex: n === 0 ? 0 : -1, dataset: { n } };
    return tokenButton(token.text, { ...props, onclick: show, onfocus: show, onpointerenter: show });
  }

  /** @param {number} n */
  mark(n) {
    for (const span of this.reading.querySelectorAll("[data-n]")) {
      span.classList.toggle("selected", /** @type {HTMLElement} */ (span).dataset.n === String(n));
    }
  }
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const span = /** @type {HTMLElement} */ (event.target);
  const next =
    event.key === "ArrowRight"
      ? span.nextElementSibling
      : event.key === "ArrowLeft"
        ? span.previousElementSibling
        : null;
  if (!(next instanceof HTMLElement)) return;
  event.preventDefault();
  span.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/**
 * All models at token n of the last answer: how likely it was to each, and what each would rather have said where its own
 * answer is the same up to there.
 *
 * @param {ComparedColumn[]} columns
 * @param {ComparedAnswer} last
 * @param {number} n
 */
export function positions(columns, last, n) {
  const rows = columns.flatMap(({ title, answer }) => {
    if (!answer) return [];
    const is_last = answer === last;
    const logprob = answer.reading?.logprobs[n];
    const p = logprob !== undefined ? Math.exp(logprob) : is_last ? last.tokens[n].p : null;
    const kl = answer.reading?.divergences[n];
    const is_same = last.tokens.slice(0, n).every((token, i) => answer.tokens[i]?.text === token.text);
    const likeliest = (is_same ? answer.tokens[n]?.likeliest : undefined) ?? [];
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, title),
      h("td", { class: "number" }, p === null ? "–" : percent(p)),
      h("td", { class: "number" }, kl === undefined ? "–" : short(kl)),
      h(
        "td",
        {},
        likeliest.length
          ? h("span", { class: "likeliest" }, likeliest.slice(0, 5).map(bar))
          : h("span", { class: "hint" }, t("compare.elsewhere")),
      ),
    );
  });
  const heads = [t("bar.model"), t("compare.p"), t("compare.kl"), t("compare.likeliest")];
  return [
    h("h2", {}, t("compare.at", { n: n + 1 }), " ", loneToken(last.tokens[n].text)),
    h(
      "div",
      { class: "wide-table", tabindex: 0 },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...rows),
      ),
    ),
  ];
}

/** @param {{ text: string, p: number }} one */
function bar(one) {
  const fillBar = h("i", { class: "left" });
  fillBar.style.width = `${100 * one.p}%`;
  return h(
    "span",
    { class: "likely" },
    loneToken(one.text),
    h("small", {}, percent(one.p)),
    h("span", { class: "bar", "aria-hidden": "true" }, fillBar),
  );
}

/** Where the questions come from whose answers are judged: pasted lines first, then the person's own, then those that come along. */

import { api } from "./api.js";
import { h } from "./dom.js";
import { choices, choose } from "./state.js";
import { language, t } from "./strings.js";

/** Changes of the settings that come so fast one after the other count as one. */
const PAUSE_MS = 400;

class Supply {
  constructor() {
    /** @type {Prompts | null} */
    this.found = null;
    /** Questions of this sitting. @type {Set<string>} */
    this.asked = new Set();
  }

  /** The questions of the chosen kinds that were not asked yet. */
  get left() {
    const { own, built_in, lines } = choices.judging;
    const { found } = this;
    const [first, second] =
      language() === "zh" ? /** @type {const} */ (["zh", "en"]) : /** @type {const} */ (["en", "zh"]);
    const all = [
      ...lines.split("\n").map((line) => line.trim()),
      ...(own && found ? found.own : []),
      ...(built_in && found ? [...found.built_in[first], ...found.built_in[second]] : []),
    ];
    return [...new Set(all)].filter((text) => text && !this.asked.has(text));
  }

  /** The next question; when all were asked, the one that was judged least. */
  async next() {
    this.found ??= await api.prompts();
    if (this.left.length === 0) {
      this.found = await api.prompts();
      this.asked.clear();
    }
    const [text] = this.left;
    if (text === undefined) throw new Error(t("judge.no_prompts"));
    this.asked.add(text);
    return text;
  }
}

/** One for all ways of judging, so that none asks what another has asked. */
export const supply = new Supply();

/**
 * Build the choice of questions.
 *
 * @param {() => void} onChange
 */
export function supplySettings(onChange) {
  let timer = 0;
  /** @param {Partial<import("./state.js").JudgingChoices>} changes */
  const change = (changes) => {
    choose({ judging: { ...choices.judging, ...changes } });
    clearTimeout(timer);
    timer = window.setTimeout(onChange, PAUSE_MS);
  };
  /** @param {"own" | "built_in"} name */
  const check = (name) => {
    const input = h("input", { type: "checkbox", onchange: () => change({ [name]: input.checked }) });
    input.checked = choices.judging[name];
    return h("label", { class: "check" }, input, t(`prompts.${name}`));
  };
  const lines = h("textarea", {
    class: "field grow",
    rows: 3,
    id: "judge-lines",
    "aria-describedby": "judge-lines-help",
    onchange: () => change({ lines: lines.value }),
  });
  lines.value = choices.judging.lines;
  return h(
    "details",
    { class: "supply" },
    h("summary", {}, t("prompts.title")),
    h(
      "div",
      { class: "supply-settings" },
      check("own"),
      check("built_in"),
      h("label", { for: lines.id }, t("prompts.lines")),
      lines,
      h("p", { class: "hint", id: "judge-lines-help" }, t("prompts.help")),
    ),
  );
}

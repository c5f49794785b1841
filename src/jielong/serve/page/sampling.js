/** The popover with the system prompt and all settings of sampling. What is left empty is the model's own. */

import { h } from "./dom.js";
import { openPopover } from "./menu.js";
import { problem } from "./notice.js";
import { t } from "./strings.js";

/** @typedef {import("./strings.js").Key} Key */
/** @typedef {"temperature" | "top_k" | "top_p" | "min_p" | "repetition_penalty" | "max_tokens" | "seed"} Setting */

/** @type {{ name: Setting, min: number, max: number, step: number }[]} */
const SETTINGS = [
  { name: "temperature", min: 0, max: 2, step: 0.05 },
  { name: "top_k", min: 0, max: 1000, step: 1 },
  { name: "top_p", min: 0.01, max: 1, step: 0.01 },
  { name: "min_p", min: 0, max: 1, step: 0.01 },
  { name: "repetition_penalty", min: 0.5, max: 2, step: 0.01 },
  { name: "max_tokens", min: 1, max: 32768, step: 1 },
  { name: "seed", min: 0, max: 4294967295, step: 1 },
];

/**
 * Open the settings of a conversation at their button; a change is sent when its field is left.
 *
 * @param {HTMLElement} anchor
 * @param {import("./talk.js").Talk} talk
 */
export function openSampling(anchor, talk) {
  const wrong = h("div", { class: "problems" });
  /** @param {Partial<Settings>} changes */
  const set = async (changes) => {
    try {
      await talk.set(changes);
      wrong.replaceChildren();
    } catch (error) {
      wrong.replaceChildren(problem(error, () => void set(changes)));
    }
  };
  const system = h("textarea", {
    class: "field",
    rows: 3,
    id: "system",
    placeholder: t("sampling.no_system"),
    onchange: () => void set({ system: system.value }),
  });
  system.value = talk.settings.system;
  const fields = SETTINGS.map((setting) => fieldOf(setting, talk, set));
  const reset = () => {
    for (const { input } of fields) input.value = "";
    void set({ sampling: {} });
  };
  const panel = h(
    "div",
    { class: "popover sampling", role: "dialog", "aria-label": t("sampling.title") },
    h("label", { for: "system" }, t("sampling.system")),
    system,
    h("div", { class: "settings" }, ...fields.map(({ row }) => row)),
    wrong,
    h(
      "div",
      { class: "row" },
      h("p", { class: "hint grow" }, t("sampling.hint")),
      h("button", { type: "button", class: "button", onclick: reset }, t("sampling.reset")),
    ),
  );
  openPopover(anchor, panel);
  fields[0].input.focus();
}

/**
 * @param {typeof SETTINGS[number]} setting
 * @param {import("./talk.js").Talk} talk
 * @param {(changes: Partial<Settings>) => Promise<void>} set
 */
function fieldOf({ name, ...bounds }, talk, set) {
  const key = /** @type {Key} */ (`sampling.${name}`);
  const input = h("input", {
    ...bounds,
    type: "number",
    class: "field",
    id: `sampling-${name}`,
    placeholder: t(name === "seed" ? "sampling.anew" : "sampling.own"),
    "aria-describedby": `sampling-${name}-help`,
    onchange: () => {
      input.toggleAttribute("aria-invalid", !input.validity.valid);
      if (!input.validity.valid && !input.validity.stepMismatch) return void input.reportValidity();
      const { [name]: _, ...others } = talk.settings.sampling;
      void set({ sampling: input.value === "" ? others : { ...others, [name]: Number(input.value) } });
    },
  });
  input.value = String(talk.settings.sampling[name] ?? "");
  const help = h("small", { id: `sampling-${name}-help` }, t(/** @type {Key} */ (`sampling.${name}.help`)));
  return { input, row: h("div", { class: "setting" }, h("label", { for: input.id }, t(key), help), input) };
}

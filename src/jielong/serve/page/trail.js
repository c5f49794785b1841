/** What happened on the way to an answer: notes, calls of a strategy, tools, passages looked up, turns left out. */

import { fill, h, icon } from "./dom.js";
import { fileName } from "./format.js";
import { t } from "./strings.js";

/**
 * @typedef {object} TrailActions
 * @property {(approval: string, allow: boolean) => Promise<unknown>} approve
 * @property {(n: number) => void} passage
 */

/** The item that an element shows, so that only what changed is drawn again. @type {WeakMap<Element, string>} */
const drawn = new WeakMap();

/**
 * Show the items, keeping the elements of those that are as before.
 *
 * @param {Element} list
 * @param {TrailItem[]} items
 * @param {TrailActions} actions
 */
export function drawTrail(list, items, actions) {
  items.filter(Boolean).forEach((item, place) => {
    const state = JSON.stringify(item);
    const old = list.children[place];
    if (old && drawn.get(old) === state) return;
    const fresh = draw(item, actions);
    drawn.set(fresh, state);
    if (!old) return list.append(fresh);
    if (old instanceof HTMLDetailsElement && fresh instanceof HTMLDetailsElement) fresh.open = old.open;
    old.replaceWith(fresh);
  });
}

/** @param {TrailItem} item @param {TrailActions} actions @returns {HTMLElement} */
function draw(item, actions) {
  switch (item.kind) {
    case "note":
      return h("p", { class: "note" }, item.text);
    case "dropped":
      return h("p", { class: "note" }, t("trail.dropped", { n: item.num_turns }));
    case "call":
      return call(item);
    case "tool":
      return tool(item, actions);
    case "passages":
      return passages(item, actions);
  }
}

/** @param {CallItem} item */
function call(item) {
  const state = item.is_over ? icon("check") : h("span", { class: "spinner", "aria-hidden": "true" });
  const title = h("b", {}, item.label || t("trail.call", { n: item.number }));
  const depth = `depth-${Math.min(item.depth, 4)}`;
  if (!item.text) return h("p", { class: `call ${depth}` }, state, title);
  const preview = h("span", { class: "preview" }, item.text.slice(0, 160));
  return h(
    "details",
    { class: `call ${depth}` },
    h("summary", {}, state, title, preview),
    h("div", { class: "call-text" }, item.text),
  );
}

/** @param {ToolItem} item @param {TrailActions} actions */
function tool(item, { approve }) {
  const card = h(
    "div",
    { class: `tool ${item.state}` },
    h(
      "div",
      { class: "tool-head" },
      item.state === "runs" ? h("span", { class: "spinner", "aria-hidden": "true" }) : null,
      h("b", {}, item.name),
      h("span", { class: "tool-state" }, t(`tool.${item.state}`)),
    ),
    h("code", { class: "tool-line" }, item.line),
  );
  if (item.state === "asks") {
    const buttons = h("div", { class: "row" });
    /** @param {boolean} allow */
    const decide = async (allow) => {
      for (const button of buttons.querySelectorAll("button")) button.disabled = true;
      try {
        await approve(item.id, allow);
      } catch (error) {
        buttons.append(h("span", { class: "bad", role: "alert" }, String(/** @type {Error} */ (error).message)));
        for (const button of buttons.querySelectorAll("button")) button.disabled = false;
      }
    };
    fill(
      buttons,
      h("button", { type: "button", class: "button primary", onclick: () => decide(true) }, t("tool.allow")),
      h("button", { type: "button", class: "button", onclick: () => decide(false) }, t("tool.refuse")),
    );
    card.append(h("p", {}, t(item.changes ? "tool.changes" : "tool.reads")), buttons);
    card.setAttribute("role", "group");
    card.setAttribute("aria-label", t("tool.question", { name: item.name }));
  }
  if (item.result) {
    card.append(h("details", {}, h("summary", {}, t("tool.result")), h("pre", { tabindex: 0 }, item.result)));
  }
  return card;
}

/** @param {PassagesItem} item @param {TrailActions} actions */
function passages(item, { passage }) {
  const found = item.passages.length;
  const links = item.passages.map((one) =>
    h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "source", title: one.text, onclick: () => passage(one.n) },
        h("span", { class: "number" }, one.n),
        h("span", { class: "source-title" }, fileName(one.title)),
        one.place ? h("span", { class: "place" }, one.place) : null,
      ),
    ),
  );
  return h(
    "div",
    { class: "looked" },
    h("p", {}, t("trail.looked"), " ", h("b", {}, t("trail.library")), " · ", t("trail.passages", { n: found })),
    item.query ? h("p", { class: "query" }, `“${item.query}”`) : null,
    found ? h("ul", {}, ...links) : null,
  );
}

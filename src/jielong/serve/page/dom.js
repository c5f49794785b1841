/**
 * Elements and icons, made without a framework. Text always goes in as text; `setHtml` is the one door for HTML, and takes
 * only what the server has rendered and sanitised.
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Build an element. Keys of `props` that begin with "on" are listeners, `dataset` is an object, and a value of
 * false, null or undefined leaves its attribute out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/**
 * Build an SVG element with attributes.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...nodes(children));
  return element;
}

/** @param {(Child | Child[])[]} children */
function nodes(children) {
  const kept = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  return /** @type {(Node | string)[]} */ (kept.map((child) => (typeof child === "number" ? String(child) : child)));
}

/**
 * Replace all children.
 *
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/**
 * Put the server's sanitised HTML into an element. Nothing else may go through here.
 *
 * @param {Element} element
 * @param {string} html
 */
export function setHtml(element, html) {
  element.innerHTML = html;
  for (const link of element.querySelectorAll("a[href^='http']")) {
    link.setAttribute("target", "_blank");
    link.setAttribute("rel", "noopener noreferrer");
  }
}

/** Strokes on a grid of 24 by 24. */
const ICONS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM16.2 16.2 20 20",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  close: "M6 6l12 12M18 6 6 18",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v11H9zM15 9V5H5v11h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  edit: "M5 19l1-4L16 5l3 3L9 18l-4 1ZM14 7l3 3",
  again: "M19 12a7 7 0 1 1-2.2-5.1L19 9M19 4.5V9h-4.5",
  good: "M7 11v8H4v-8zM7 11l4-7c1.6 0 2.3 1.2 2 2.6L12.4 10H18a2 2 0 0 1 2 2.3l-1 5a2 2 0 0 1-2 1.7H7",
  poor: "M7 13V5H4v8zM7 13l4 7c1.6 0 2.3-1.2 2-2.6L12.4 14H18a2 2 0 0 0 2-2.3l-1-5A2 2 0 0 0 17 5H7",
  star: "M12 4l2.5 5.2 5.7.8-4.1 4 1 5.7-5.1-2.7-5.1 2.7 1-5.7-4.1-4 5.7-.8z",
  judge: "M12 4v16M8 20h8M5 7h14M5 7l-2.6 6.4a2.7 2.7 0 0 0 5.2 0zM19 7l-2.6 6.4a2.7 2.7 0 0 0 5.2 0z",
  undo: "M9 6l-4.5 4.5L9 15M4.5 10.5H14a4.8 4.8 0 0 1 0 9.5h-3",
  up: "M6 14.5l6-6 6 6",
  equal: "M6 9.5h12M6 14.5h12",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M6 9.5l6 6 6-6",
  bottom: "M12 5v13M6 12.5l6 6 6-6",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4",
  lens: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  attach: "M19 11.5l-7.3 7.3a4.5 4.5 0 0 1-6.4-6.4l7.8-7.8a3 3 0 0 1 4.3 4.3L9.7 16.6a1.5 1.5 0 0 1-2.2-2.2l6.8-6.7",
  theme: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM12 4v16M12 8l6.5-2M12 12h8M12 16l6.5 2",
  globe: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17ZM3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.3 11v5M13.7 11v5",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  upload: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
  chat: "M5 5.5h14v10h-8L7 19v-3.5H5z",
  compare: "M4.5 5h6v14h-6zM13.5 5h6v14h-6z",
  library: "M5 4.5h9.5v15H5zM8 4.5v15M14.5 6l3.3-.8 2.7 13.6-3.9.8",
  runs: "M4 4.5V19.5H20.5M7.5 8c2 6.5 5 7.5 12 8",
  branch: "M7 4.5v15M7 13c6 0 9.5-2 9.5-7M13.5 8.5l3-3 3 3",
  warning: "M12 4.5l8.5 15h-17zM12 10.5v4M12 17h.01",
  prompt: "M5 4.5h14v15H5zM8.5 9h7M8.5 12.5h7M8.5 16h4",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M12 12h.01M15 9h.01M9 15h.01",
  keyboard: "M3 6.5h18v11H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
};

/** @typedef {keyof typeof ICONS} IconName */

/**
 * Draw an icon in the colour of the text around it.
 *
 * @param {IconName} name
 */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "data-icon": name, "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );
}

/**
 * Build a button that shows an icon only and says its label to a screen reader and as a tip.
 *
 * @param {IconName} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function iconButton(name, label, onclick, props = {}) {
  return h(
    "button",
    { type: "button", class: "icon-button", title: label, "aria-label": label, onclick, ...props },
    icon(name),
  );
}

/**
 * Call `draw` at most once in a frame, however often the returned function is called.
 *
 * @param {() => void} draw
 */
export function oncePerFrame(draw) {
  let is_due = false;
  return () => {
    if (is_due) return;
    is_due = true;
    requestAnimationFrame(() => {
      is_due = false;
      draw();
    });
  };
}

/**
 * Copy text, and show on the button for a moment that it was done.
 *
 * @param {HTMLElement} button
 * @param {string} text
 */
export async function copyText(button, text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyBySelection(text);
  const before = [...button.childNodes];
  button.replaceChildren(icon("check"));
  button.classList.add("done");
  setTimeout(() => {
    button.classList.remove("done");
    button.replaceChildren(...before);
  }, 1500);
}

/**
 * Copy text where the page came over plain HTTP from another machine: browsers then have no clipboard object.
 *
 * @param {string} text
 */
function copyBySelection(text) {
  const field = h("textarea", { class: "unseen", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

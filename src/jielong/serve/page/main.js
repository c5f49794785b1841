/** The page begins here: it asks the server for its state, and shows the view that the address names. */

import { api, session } from "./api.js";
import { Chat } from "./chat.js";
import { CompareView } from "./compare.js";
import { askForKey } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { JudgeView } from "./judge.js";
import { LibraryView } from "./library.js";
import { closeNav, Nav } from "./nav.js";
import { problem } from "./notice.js";
import { ReportView, RunView } from "./run.js";
import { RunsView } from "./runs.js";
import { applyLanguage, applyTheme } from "./settings.js";
import { listenForKeys } from "./shortcuts.js";
import { emit, on, page } from "./state.js";
import { t } from "./strings.js";

/** @typedef {{ close: () => void, keys?: import("./shortcuts.js").Keys }} View */

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const aside = /** @type {HTMLElement} */ (document.getElementById("lens"));
const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
const STATE_MS = 4000;

/** @type {View | null} */
let view = null;

/** Show the view of the address: #/ and #/c/ID are the chat, #/compare, #/judge[/order|/write], #/library, #/runs[/NAME[/report]]. */
async function route() {
  const [, name = "", id = "", rest = ""] = location.hash.split("/").map(decodeURIComponent);
  closeNav();
  for (const dialog of document.querySelectorAll("dialog[open]:not(#login)"))
    /** @type {HTMLDialogElement} */ (dialog).close();
  emit("conversations");
  if (name === "" || name === "c") {
    if (!(view instanceof Chat)) show(() => new Chat(main, aside));
    return /** @type {Chat} */ (view).open(id);
  }
  if (name === "judge") {
    if (!(view instanceof JudgeView)) show(() => new JudgeView(main));
    return /** @type {JudgeView} */ (view).open(id);
  }
  if (name === "compare") show(() => new CompareView(main));
  else if (name === "library") show(() => new LibraryView(main));
  else if (name === "runs" && rest === "report") show(() => new ReportView(main, id));
  else if (name === "runs" && id) show(() => new RunView(main, id));
  else if (name === "runs") show(() => new RunsView(main));
  else location.hash = "#/";
}

/**
 * Close the view that is there, and make another.
 *
 * @template {View} T
 * @param {() => T} make
 */
function show(make) {
  view?.close();
  view = make();
}

/** Ask for the server's state anew: which models are in memory, and how much of it they take. */
async function refreshState() {
  page.server = await api.state();
  emit("state");
}

async function start() {
  session.onLogin = askForKey;
  applyTheme();
  applyLanguage();
  try {
    page.server = await api.state();
  } catch (error) {
    if (/** @type {import("./api.js").ApiError} */ (error).code === "login") return; // the form for the key is open
    return fill(
      main,
      h(
        "div",
        { class: "column" },
        problem(error, () => location.reload()),
      ),
    );
  }
  applyLanguage();
  aside.setAttribute("aria-label", t("lens.title"));
  document.getElementById("scrim")?.addEventListener("click", closeNav);
  const skip = h("a", {
    class: "skip",
    href: "#main",
    onclick: (/** @type {Event} */ event) => (event.preventDefault(), main.focus()),
  });
  skip.textContent = t("nav.skip");
  document.body.prepend(skip);
  new Nav(nav);
  const stop = () => {
    if (!(view instanceof Chat) || !view.talk.unfinished) return false;
    void view.attempt(() => /** @type {Chat} */ (view).talk.stop());
    return true;
  };
  listenForKeys(stop, () => view?.keys ?? {});
  addEventListener("hashchange", () => void route());
  on("models", () => void refreshState().catch(() => {})); // where the server is away, others say so
  setInterval(() => page.server.models.some((model) => model.is_loading) && emit("models"), STATE_MS);
  await route();
}

void start();

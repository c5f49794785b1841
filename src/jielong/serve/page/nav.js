/** The navigation: the views, the conversations by day with a search, and the page's own settings. */

import { api } from "./api.js";
import { confirmed, editLine } from "./dialogs.js";
import { fill, h, icon, iconButton, oncePerFrame } from "./dom.js";
import { count, dayHeading, moment, size } from "./format.js";
import { openMenu } from "./menu.js";
import { notice, problem } from "./notice.js";
import { emit, on, onOtherTab, page, tellTabs } from "./state.js";
import { language, t } from "./strings.js";
import { setLanguage, setTheme, themes } from "./settings.js";
import { choices } from "./state.js";

const SEARCH_MS = 200;

/** @typedef {import("./dom.js").IconName} IconName */

/** @type {{ name: import("./strings.js").Key, href: string, icon: IconName, is_there: () => boolean }[]} */
const VIEWS = [
  { name: "nav.compare", href: "#/compare", icon: "compare", is_there: () => page.server.models.length > 1 },
  { name: "nav.judge", href: "#/judge", icon: "judge", is_there: () => page.server.models.length > 0 },
  { name: "nav.library", href: "#/library", icon: "library", is_there: () => page.server.library !== null },
  { name: "nav.runs", href: "#/runs", icon: "runs", is_there: () => page.server.runs },
];

export class Nav {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    /** @type {Conversation[]} */
    this.conversations = [];
    this.has_more = false;
    this.asked = 0;
    this.searched = "";
    this.views = h("ul", { class: "views" });
    this.list = h("div", { class: "conversations" });
    this.count = h("span", { class: "nav-count" });
    this.memory = h("p", { class: "nav-memory", title: t("nav.memory_title") });
    this.search = h("input", {
      type: "search",
      class: "search",
      placeholder: t("nav.search"),
      "aria-label": t("nav.search"),
      oninput: () => this.searchSoon(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "ArrowDown") return;
        event.preventDefault();
        this.list.querySelector("a")?.focus();
      },
    });
    this.list.addEventListener("keydown", (event) => this.walk(event));
    element.setAttribute("aria-label", t("nav.label"));
    element.addEventListener("click", (event) => {
      if (event.target instanceof Element && event.target.closest("a")) closeNav();
    });
    const scroller = h("div", { class: "nav-scroll" }, this.list);
    fill(
      element,
      h(
        "header",
        { class: "nav-head" },
        h(
          "a",
          { class: "brand", href: "#/" },
          h("img", { src: "/page/favicon.svg", alt: "", width: 22, height: 22 }),
          "接龙 Jielong",
        ),
        iconButton("close", t("nav.close"), closeNav, { class: "icon-button nav-button" }),
      ),
      h("a", { class: "new-chat", href: "#/" }, icon("plus"), t("nav.new")),
      this.views,
      h("div", { class: "search-box" }, icon("search"), this.search),
      scroller,
      ...this.foot(),
    );
    this.end = scroller.appendChild(h("div", { class: "nav-end" }));
    this.watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && void this.more(), {
      root: scroller,
    });
    const refresh = oncePerFrame(() => void this.load());
    on("conversations", refresh);
    on("state", () => this.drawMemory());
    for (const name of /** @type {const} */ (["state", "judgements"])) on(name, () => this.drawCount());
    onOtherTab(refresh);
    addEventListener("focus", refresh);
    void this.load();
  }

  foot() {
    this.drawMemory();
    const buttons = h(
      "footer",
      { class: "nav-foot" },
      iconButton("keyboard", t("shortcuts.title"), () => dispatchEvent(new CustomEvent("jielong:shortcuts"))),
      iconButton(
        "theme",
        t("nav.theme"),
        (event) => {
          openMenu(
            /** @type {HTMLElement} */ (event.currentTarget),
            themes.map((theme) => ({
              label: t(`theme.${theme}`),
              is_chosen: theme === choices.theme,
              act: () => setTheme(theme),
            })),
          );
        },
        { "aria-haspopup": "menu" },
      ),
      iconButton(
        "globe",
        t("nav.language"),
        (event) => {
          openMenu(/** @type {HTMLElement} */ (event.currentTarget), [
            { label: "English", is_chosen: language() === "en", act: () => setLanguage("en") },
            { label: "中文", is_chosen: language() === "zh", act: () => setLanguage("zh") },
          ]);
        },
        { "aria-haspopup": "menu" },
      ),
      iconButton("upload", t("nav.import"), () => this.import()),
    );
    return [this.memory, buttons];
  }

  drawMemory() {
    const { used_bytes, limit_bytes } = page.server.memory;
    fill(this.memory, t("nav.memory", { used: size(used_bytes), limit: size(limit_bytes) }));
  }

  searchSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.load(), SEARCH_MS);
  }

  async load() {
    const asked = (this.asked += 1);
    const search = this.search.value.trim();
    const limit = Math.max(50, search === this.searched ? this.conversations.length : 0);
    try {
      const found = await api.conversations({ search, limit });
      if (asked !== this.asked) return; // a newer search is under way
      this.searched = search;
      this.conversations = found.conversations;
      this.has_more = found.has_more;
      this.draw();
    } catch (error) {
      if (this.conversations.length === 0)
        fill(
          this.list,
          problem(error, () => void this.load()),
        );
    }
  }

  async more() {
    if (!this.has_more) return;
    this.has_more = false;
    const asked = this.asked;
    const before = this.conversations.at(-1)?.updated;
    const found = await api.conversations({ search: this.search.value.trim(), before });
    if (asked !== this.asked) return;
    this.conversations.push(...found.conversations);
    this.has_more = found.has_more;
    this.draw();
  }

  draw() {
    this.drawViews();
    const focused = document.activeElement?.closest("li[data-id]")?.getAttribute("data-id");
    /** @type {Map<string, Conversation[]>} */
    const days = Map.groupBy(this.conversations, (one) => dayHeading(one.updated));
    const groups = [...days].map(([day, ones]) => [h("h2", {}, day), h("ul", {}, ...ones.map((one) => this.row(one)))]);
    const empty = h("p", { class: "hint" }, t(this.search.value ? "nav.nothing_found" : "nav.nothing"));
    fill(this.list, groups.length ? groups.flat() : empty);
    this.watch.unobserve(this.end);
    this.watch.observe(this.end); // asks again whether the end is in view
    if (focused)
      /** @type {HTMLElement | null} */ (this.list.querySelector(`li[data-id="${CSS.escape(focused)}"] a`))?.focus();
  }

  drawViews() {
    fill(
      this.views,
      VIEWS.filter((view) => view.is_there()).map((view) => {
        const is_here = location.hash.startsWith(view.href);
        return h(
          "li",
          {},
          h(
            "a",
            { href: view.href, "aria-current": is_here ? "page" : undefined },
            icon(view.icon),
            t(view.name),
            view.name === "nav.judge" ? this.count : null,
          ),
        );
      }),
    );
    this.drawCount();
  }

  drawCount() {
    const n = page.server.num_judgements;
    this.count.textContent = n ? count(n) : "";
    this.count.title = t("judge.num", { n });
  }

  /** @param {Conversation} conversation */
  row(conversation) {
    const { id, updated } = conversation;
    const title = conversation.title || t("conversation.untitled");
    const is_here = location.hash === `#/c/${id}`;
    return h(
      "li",
      { dataset: { id } },
      h(
        "a",
        { href: `#/c/${id}`, title: `${title}\n${moment(updated)}`, "aria-current": is_here ? "page" : undefined },
        title,
      ),
      iconButton(
        "more",
        t("conversation.menu", { title }),
        (event) => {
          openMenu(/** @type {HTMLElement} */ (event.currentTarget), [
            { label: t("conversation.rename"), icon: "edit", act: () => void this.rename(conversation) },
            { label: t("conversation.export"), icon: "download", href: api.exportUrl(id) },
            {
              label: t("conversation.delete"),
              icon: "trash",
              is_danger: true,
              act: () => void this.remove(conversation),
            },
          ]);
        },
        { "aria-haspopup": "menu" },
      ),
    );
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const links = [...this.list.querySelectorAll("a")];
    const place = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    if (place < 0 || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
    event.preventDefault();
    const next = links[place + (event.key === "ArrowDown" ? 1 : -1)];
    (next ?? (event.key === "ArrowUp" ? this.search : links[place])).focus();
  }

  // What can be done to a conversation --------------------------------------------------------------------------------

  /** @param {Conversation} conversation */
  async rename(conversation) {
    const title = await editLine(t("conversation.rename"), conversation.title);
    if (title === null || title === conversation.title) return;
    await this.change(() => api.change(conversation.id, { title }), conversation.id);
  }

  /** @param {Conversation} conversation */
  async remove(conversation) {
    const title = conversation.title || t("conversation.untitled");
    const { judgements } = await api.judgements(conversation.id).catch(() => ({ judgements: [] })); // then deleting says why
    const n = judgements.length;
    const question = n ? t("conversation.sure_judged", { title, n }) : t("conversation.sure", { title });
    if (!(await confirmed(question, t("conversation.delete")))) return;
    await this.change(() => api.remove(conversation.id), conversation.id);
    if (n) emit("models"); // the server counts anew
    if (location.hash === `#/c/${conversation.id}`) location.hash = "#/";
  }

  /** @param {() => Promise<unknown>} act @param {string} id */
  async change(act, id) {
    try {
      await act();
      tellTabs(id);
    } catch (error) {
      notice(/** @type {Error} */ (error).message);
    }
    await this.load();
  }

  import() {
    const picker = h("input", {
      type: "file",
      accept: ".json,application/json",
      onchange: async () => {
        const file = picker.files?.[0];
        if (!file) return;
        await this.change(async () => {
          const conversation = await api.importConversation(await file.text());
          location.hash = `#/c/${conversation.id}`;
        }, "");
      },
    });
    picker.click();
  }
}

/** Open the drawer that the navigation is on a phone. */
export function openNav() {
  document.body.classList.add("nav-open");
  /** @type {HTMLElement | null} */ (document.querySelector(".nav .nav-button"))?.focus();
}

/** Close the drawer; the focus goes back to the button that opened it. */
export function closeNav() {
  const { classList } = document.body;
  if (!classList.contains("nav-open")) return;
  classList.remove("nav-open");
  /** @type {HTMLElement | null} */ (document.querySelector(".topbar .nav-button"))?.focus();
}

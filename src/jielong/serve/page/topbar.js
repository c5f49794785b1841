/** The bar above a conversation: which model answers, by which strategy, with what sampling, and the lens. */

import { fill, h, icon, iconButton } from "./dom.js";
import { size, short } from "./format.js";
import { openNav } from "./nav.js";
import { openMenu } from "./menu.js";
import { openSampling } from "./sampling.js";
import { choices, choose, emit, modelNamed, on, page, strategyOf } from "./state.js";
import { language, t } from "./strings.js";

export class TopBar {
  /** @param {import("./chat.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.model = this.pill("bar.model", () => this.chooseModel());
    this.strategy = this.pill("bar.strategy", () => this.chooseStrategy());
    this.sampling = h("button", {
      type: "button",
      class: "pill",
      "aria-haspopup": "dialog",
      onclick: () => openSampling(this.sampling, chat.talk),
    });
    this.lens = h("button", { type: "button", class: "pill lens-toggle", onclick: toggleLens });
    this.title = h("h1", { class: "unseen" });
    this.element = h(
      "header",
      { class: "topbar" },
      this.title,
      iconButton("menu", t("nav.open"), openNav, { class: "icon-button nav-button" }),
      ...[this.model, this.strategy, this.sampling, h("span", { class: "grow" }), this.lens],
    );
    on("lens", () => this.draw(), chat.ending.signal);
    on("state", () => this.draw(), chat.ending.signal);
  }

  /** @param {import("./strings.js").Key} label @param {() => void} onclick */
  pill(label, onclick) {
    return h("button", { type: "button", class: "pill", title: t(label), "aria-haspopup": "menu", onclick });
  }

  draw() {
    const { model, strategy, sampling } = this.chat.talk.settings;
    const info = strategyOf(strategy);
    const { temperature } = sampling;
    this.title.textContent = this.chat.talk.conversation?.title || t("nav.new");
    this.write(this.model, "bar.model", "", modelNamed(model)?.title ?? (model || t("bar.no_model")));
    this.write(this.strategy, "bar.strategy", t("bar.ask"), strategyTitle(info, strategy));
    const shown = temperature === undefined ? t("sampling.default") : short(temperature);
    fill(
      this.sampling,
      icon("sliders"),
      h("span", { class: "wide" }, h("i", {}, t("sampling.temperature")), ` ${shown}`),
    );
    this.sampling.title = t("sampling.title");
    this.sampling.setAttribute("aria-label", `${t("sampling.title")}: ${t("sampling.temperature")} ${shown}`);
    const has_lens = modelNamed(model)?.has_lens ?? true;
    const shown_lens = t(choices.lens ? `lens.on.${choices.colour}` : "lens.off");
    fill(this.lens, icon("lens"), h("span", { class: "wide" }, shown_lens));
    this.lens.setAttribute("aria-pressed", String(choices.lens));
    this.lens.setAttribute("aria-label", `${shown_lens}. ${t("lens.toggle")}`);
    this.lens.title = has_lens ? t("lens.toggle") : t("lens.none");
  }

  /** @param {HTMLElement} pill @param {import("./strings.js").Key} label @param {string} before @param {string} value */
  write(pill, label, before, value) {
    fill(
      pill,
      before ? h("i", { class: "wide" }, `${before} `) : null,
      h("span", { class: "value" }, value),
      icon("down"),
    );
    pill.setAttribute("aria-label", `${t(label)}: ${before} ${value}`);
  }

  chooseModel() {
    const { model: chosen } = this.chat.talk.settings;
    openMenu(
      this.model,
      page.server.models.map((model) => ({
        label: model.title,
        detail: modelDetail(model),
        is_chosen: model.name === chosen,
        act: () => void this.chat.attempt(() => this.chat.talk.set({ model: model.name })),
      })),
    );
  }

  chooseStrategy() {
    const { strategy: chosen } = this.chat.talk.settings;
    openMenu(
      this.strategy,
      page.server.strategies.map((strategy) => ({
        label: strategyTitle(strategy, strategy.spec),
        detail: `${strategy.help[language()]} ${costOf(strategy)}`,
        is_chosen: strategy.spec === chosen,
        act: () => void this.chat.attempt(() => this.chat.talk.set({ strategy: strategy.spec })),
      })),
    );
  }
}

export function toggleLens() {
  choose({ lens: !choices.lens });
  emit("lens");
}

/** @param {Model} model */
function modelDetail(model) {
  const parts = [t(model.kind === "server" ? "model.server" : model.is_loaded ? "model.loaded" : "model.not_loaded")];
  if (model.is_loading) parts[0] = t("model.loading");
  if (model.bytes) parts.push(size(model.bytes));
  if (model.context) parts.push(t("model.context", { n: model.context }));
  if (model.is_base) parts.push(t("model.base"));
  return parts.join(" · ");
}

/** @param {StrategyInfo | undefined} info @param {string} spec */
function strategyTitle(info, spec) {
  return info?.spec || spec || t("strategy.direct");
}

/** @param {StrategyInfo} strategy */
export function costOf(strategy) {
  return strategy.calls === null ? t("strategy.calls_vary") : t("strategy.calls", { n: strategy.calls });
}

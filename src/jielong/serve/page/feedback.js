/** What a person thinks of an answer of a conversation: thumbs below it, stars with a reason, and better than its sibling. */

import { openDialog } from "./dialogs.js";
import { h, icon, iconButton } from "./dom.js";
import { t } from "./strings.js";

/** @typedef {import("./answer.js").AnswerActions} Actions */

const STARS = 5;

/** @param {string} answer @param {Actions} actions */
function ratingOf(answer, actions) {
  return actions.judgements().find((one) => one.kind === "rating" && one.answers[0] === answer);
}

/** Two buttons that say good or bad; pressing one that is pressed takes it back. */
export class Thumbs {
  /** @param {string} answer @param {Actions} actions */
  constructor(answer, actions) {
    this.answer = answer;
    this.actions = actions;
    this.good = iconButton("good", t("thumbs.good"), () => this.press(1));
    this.poor = iconButton("poor", t("thumbs.poor"), () => this.press(0));
    this.element = h("span", { class: "thumbs", role: "group", "aria-label": t("thumbs.label") }, this.good, this.poor);
    this.draw();
  }

  /** The score of the thumb that is pressed, if any. */
  get score() {
    const value = ratingOf(this.answer, this.actions)?.value;
    return value?.scale === "thumbs" ? value.score : undefined;
  }

  draw() {
    this.good.setAttribute("aria-pressed", String(this.score === 1));
    this.poor.setAttribute("aria-pressed", String(this.score === 0));
  }

  /** @param {number} score */
  press(score) {
    const rating = ratingOf(this.answer, this.actions);
    if (rating && this.score === score) this.actions.takeBack(rating);
    else this.actions.judge("rating", [this.answer], { score, scale: "thumbs" });
  }
}

/**
 * Ask for one to five stars and a reason.
 *
 * @param {string} answer
 * @param {Actions} actions
 */
export function openStars(answer, actions) {
  const rating = ratingOf(answer, actions);
  const value = rating?.value.scale === "stars" ? rating.value : {};
  const chosen = value.score === undefined ? 0 : starsOf(value.score);
  const stars = Array.from({ length: STARS }, (_, place) => {
    const n = place + 1;
    const input = h("input", { type: "radio", class: "unseen", name: "stars", value: n, required: true });
    input.checked = n === chosen;
    return h(
      "label",
      { title: t("stars.n", { n }) },
      input,
      icon("star"),
      h("span", { class: "unseen" }, t("stars.n", { n })),
    );
  });
  const reason = h("textarea", { class: "field", rows: 3, maxlength: 4000, id: "stars-reason" });
  reason.value = value.reason ?? "";
  const form = h(
    "form",
    { method: "dialog", onsubmit: () => (dialog.returnValue = "yes") },
    h("fieldset", { class: "stars" }, h("legend", {}, t("stars.how")), ...stars),
    h("label", { for: reason.id }, t("stars.reason")),
    reason,
    h(
      "div",
      { class: "row end" },
      chosen && rating
        ? h(
            "button",
            { type: "button", class: "button danger", onclick: () => dialog.close("back") },
            t("judge.take_back"),
          )
        : null,
      h("button", { class: "button primary", value: "yes" }, t("save")),
    ),
  );
  const dialog = openDialog(t("stars.title"), "small", form);
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "back" && rating) actions.takeBack(rating);
    if (dialog.returnValue !== "yes") return;
    const n = Number(new FormData(form).get("stars"));
    const score = (n - 1) / (STARS - 1);
    actions.judge("rating", [answer], { score, reason: reason.value.trim(), scale: "stars" });
  });
}

/** @param {number} score from 0 to 1 */
function starsOf(score) {
  return Math.round(score * (STARS - 1)) + 1;
}

/**
 * Entries of an answer's menu that make it and a sibling a pair.
 *
 * @param {Turn} turn
 * @param {Actions} actions
 * @returns {import("./menu.js").MenuItem[]}
 */
export function pairItems(turn, actions) {
  const all = actions.siblings(turn);
  const place = all.findIndex((one) => one.id === turn.id);
  return all.flatMap((other, n) => {
    if (n === place || other.status === "writing") return [];
    const known = winsOf(turn.id, actions).find((one) => one.answers.includes(other.id));
    const act = known
      ? () => actions.takeBack(known)
      : () => {
          const pair = n < place ? [other.id, turn.id] : [turn.id, other.id]; // the older one counts as the left
          actions.judge("preference", pair, { outcome: n < place ? "right" : "left", is_blind: false });
        };
    const label = t(known ? "pair.not_better" : "pair.better", { version: n + 1 });
    return [{ label, icon: /** @type {import("./dom.js").IconName} */ (known ? "undo" : "check"), act }];
  });
}

/** The pairs that an answer has won. @param {string} answer @param {Actions} actions */
function winsOf(answer, actions) {
  return actions.judgements().filter(({ kind, answers, value }) => {
    return (
      kind === "preference" && answers[value.outcome === "left" ? 0 : value.outcome === "right" ? 1 : -1] === answer
    );
  });
}

/**
 * What is thought of an answer, in words for the line below it.
 *
 * @param {Turn} turn
 * @param {Actions} actions
 * @returns {{ text: string, tip?: string }[]}
 */
export function judgedParts(turn, actions) {
  const rating = ratingOf(turn.id, actions)?.value;
  const all = actions.siblings(turn);
  const beaten = winsOf(turn.id, actions).flatMap(({ answers }) => {
    const other = all.findIndex((one) => one.id !== turn.id && answers.includes(one.id));
    return other < 0 ? [] : [{ text: t("pair.is_better", { version: other + 1 }) }];
  });
  const stars =
    rating?.scale === "stars" && rating.score !== undefined
      ? [{ text: t("stars.given", { n: starsOf(rating.score), of: STARS }), tip: rating.reason }]
      : [];
  return [...stars, ...beaten];
}

/** The chat: a conversation's shown path, kept in step with its tree without drawing again what did not change. */

import { AnswerView } from "./answer.js";
import { api } from "./api.js";
import { ColourWatch } from "./colours.js";
import { Composer } from "./composer.js";
import { editText } from "./dialogs.js";
import { fill, h, iconButton } from "./dom.js";
import { LensPanel } from "./lens.js";
import { announce, notice, problem } from "./notice.js";
import { showPassage } from "./passage.js";
import { showPrompt } from "./prompt.js";
import { QuestionView } from "./question.js";
import { redraw } from "./redraw.js";
import { onOtherTab, page } from "./state.js";
import { t } from "./strings.js";
import { Talk } from "./talk.js";
import { siblings } from "./tree.js";
import { TopBar } from "./topbar.js";
import { welcome } from "./welcome.js";

/** How near to its end, in pixels, a conversation must be scrolled for it to stay at the end. */
const NEAR = 80;

export class Chat {
  /**
   * @param {HTMLElement} main
   * @param {HTMLElement} aside where the lens goes
   */
  constructor(main, aside) {
    this.ending = new AbortController();
    /** @type {Map<string, AnswerView | QuestionView>} */
    this.views = new Map();
    this.lens = new LensPanel(aside, {
      branch: (before, n, token) =>
        void this.attempt(async () => this.lens.show((await this.talk.branch(before, n, token)).id, n)),
      isWriting: (answer) => this.talk.turns.get(answer)?.status === "writing",
    });
    this.colours = new ColourWatch(this.ending.signal);
    this.talk = this.newTalk(null, [], []);
    this.bar = new TopBar(this);
    this.list = h("div", { class: "column" });
    this.scroller = h("div", { class: "talk", role: "region", "aria-label": t("chat.region"), tabindex: 0 }, this.list);
    this.jump = iconButton("bottom", t("chat.to_end"), () => this.toEnd(), { class: "icon-button jump", hidden: true });
    this.composer = new Composer(this);
    this.lens.attend(this.list);
    this.scroller.addEventListener("scroll", () => this.notePlace(), { passive: true });
    this.scroller.addEventListener("click", (event) => this.cite(event));
    new ResizeObserver(() => this.is_at_end && this.toEnd()).observe(this.list);
    this.is_at_end = true;
    fill(
      main,
      this.bar.element,
      this.colours.legend,
      this.scroller,
      h("div", { class: "foot" }, this.jump, this.composer.element),
    );
    onOtherTab((id) => id === this.talk.id && void this.refresh(), this.ending.signal);
    addEventListener("focus", () => void this.refresh(), { signal: this.ending.signal });
  }

  /** @param {Conversation | null} conversation @param {Turn[]} turns @param {Judged[]} judgements */
  newTalk(conversation, turns, judgements) {
    return new Talk(conversation, turns, judgements, {
      onPath: () => this.draw(),
      onTurn: (turn, writing) => this.grow(turn, writing),
      onGone: () => notice(t("connection.gone"), 0),
      onConnection: (is_lost) => notice(is_lost ? t("connection.lost") : t("connection.back"), is_lost ? 0 : 2500),
    });
  }

  /**
   * Open a conversation, or a new one for "".
   *
   * @param {string} id
   */
  async open(id) {
    if (id && id === this.talk.id) return; // it was new, and has just got its address
    this.talk.close();
    this.lens.close();
    this.views.clear();
    this.is_at_end = true;
    fill(this.list, id ? h("div", { class: "loading" }) : null);
    try {
      const found = id ? await api.conversation(id) : { conversation: null, turns: [], judgements: [] };
      this.talk = this.newTalk(found.conversation, found.turns, found.judgements);
    } catch (error) {
      return fill(
        this.list,
        problem(error, () => this.open(id)),
      );
    }
    this.draw();
    this.composer.open();
    this.toEnd();
  }

  async refresh() {
    try {
      await this.talk.reload();
    } catch {
      // the server may be away for a moment; the next focus or event asks again
    }
  }

  draw() {
    const { talk } = this;
    this.bar.draw();
    this.composer.draw();
    document.title = talk.conversation?.title ? `${talk.conversation.title} · Jielong` : "Jielong";
    if (talk.id && location.hash !== `#/c/${talk.id}`) history.replaceState(null, "", `#/c/${talk.id}`);
    if (talk.path.length === 0) return fill(this.list, welcome(this));
    this.arrange(talk.path.map((turn) => this.viewOf(turn)));
    const last = talk.path[talk.path.length - 1];
    if (last.role === "user") this.list.append(this.unanswered(last));
    this.colours.watch([...this.views.values()].filter((view) => view instanceof AnswerView));
  }

  /**
   * Put the elements of the path in their order, moving none that stands right.
   *
   * @param {(AnswerView | QuestionView)[]} views
   */
  arrange(views) {
    const wanted = views.map((view) => view.element);
    for (const child of [...this.list.children])
      if (!wanted.includes(/** @type {HTMLElement} */ (child))) child.remove();
    wanted.forEach((element, place) => {
      const stands = this.list.children[place];
      if (stands !== element) this.list.insertBefore(element, stands ?? null);
    });
  }

  /** @param {Turn} question */
  unanswered(question) {
    const answer = () => void this.attempt(() => this.talk.answerAgain(question));
    const button = h("button", { type: "button", class: "link", onclick: answer }, t("question.answer"));
    return h("p", { class: "unfinished" }, t("question.unanswered"), button);
  }

  /** @param {Turn} turn */
  viewOf(turn) {
    const known = this.views.get(turn.id);
    const num_siblings = siblings(this.talk.turns, turn).length;
    if (known) {
      if (known instanceof AnswerView && known.turn !== turn)
        known.update(turn, this.talk.writing.get(turn.id) ?? null);
      if (known.num_siblings !== num_siblings) known.drawEnd();
      if (known instanceof AnswerView) known.drawJudged();
      known.num_siblings = num_siblings;
      return known;
    }
    const view =
      turn.role === "user"
        ? new QuestionView(turn, this.questionActions())
        : new AnswerView(turn, this.answerActions());
    view.num_siblings = num_siblings;
    this.views.set(turn.id, view);
    return view;
  }

  /** @param {Turn} turn @param {import("./stream.js").Writing | null} writing */
  grow(turn, writing) {
    const view = this.views.get(turn.id);
    if (view instanceof AnswerView) view.update(turn, writing);
    if (writing) return;
    this.lens.forget(turn.id);
    if (this.lens.answer === turn.id) void this.lens.show(turn.id, this.lens.n);
    if (turn.status === "done") announce(t("answer.finished", { text: turn.text.slice(0, 600) }));
  }

  // What can be done ------------------------------------------------------------------------------------------------

  /**
   * Do something that may be refused, and say so in place.
   *
   * @param {() => Promise<unknown>} act
   */
  async attempt(act) {
    try {
      await act();
      this.composer.say(null);
      return true;
    } catch (error) {
      this.composer.say(error, () => void this.attempt(act));
      return false;
    }
  }

  /** @returns {import("./question.js").QuestionActions} */
  questionActions() {
    return {
      resend: async (turn, text) => void (await this.attempt(() => this.talk.say(text, turn.parent))),
      show: (turn) => void this.attempt(() => this.talk.show(turn)),
      siblings: (turn) => siblings(this.talk.turns, turn),
    };
  }

  /** @returns {import("./answer.js").AnswerActions} */
  answerActions() {
    return {
      again: (turn) => {
        const question = this.talk.turns.get(turn.parent);
        if (question) void this.attempt(() => this.talk.answerAgain(question));
      },
      goOn: (turn) => void this.attempt(() => this.talk.goOn(turn)),
      writeBetter: async (turn) => {
        const text = await editText(t("answer.correct"), turn.text);
        if (text && text !== turn.text) await this.attempt(() => this.talk.writeBetter(turn, text));
      },
      judgements: () => this.talk.judgements,
      judge: (kind, answers, value) => void this.attempt(() => this.talk.judge(kind, answers, value)),
      takeBack: (judgement) => void this.attempt(() => this.talk.takeBack(judgement)),
      prompt: (turn) => showPrompt(turn, this.lens),
      redraw: (turn) => redraw(turn),
      show: (turn) => void this.attempt(() => this.talk.show(turn)),
      siblings: (turn) => siblings(this.talk.turns, turn),
      approve: (approval, allow) => api.approve(approval, allow),
      passage: (turn, n) => showPassage(turn, n),
    };
  }

  /** @param {string} text */
  send(text) {
    this.is_at_end = true;
    return this.attempt(() => this.talk.say(text));
  }

  /**
   * Open the passage that a link in an answer names.
   *
   * @param {MouseEvent} event
   */
  cite(event) {
    const link = /** @type {Element} */ (event.target).closest("a[data-passage]");
    const id = link?.closest("[data-turn]")?.getAttribute("data-turn") ?? "";
    const turn = this.talk.turns.get(id);
    if (!link || !turn) return;
    event.preventDefault();
    showPassage(turn, Number(link.getAttribute("data-passage")));
  }

  get model() {
    return page.server.models.find((model) => model.name === this.talk.settings.model);
  }

  // Scrolling -------------------------------------------------------------------------------------------------------

  notePlace() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.is_at_end = scrollHeight - scrollTop - clientHeight < NEAR;
    this.jump.hidden = this.is_at_end;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  close() {
    this.ending.abort();
    this.talk.close();
    this.lens.close();
  }
}

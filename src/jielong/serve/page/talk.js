/**
 * The open conversation: its settings, its tree of turns, and all that can be done to it. Requests go to the server
 * first; the tree changes by what comes back. Whoever shows it is told by `onChange`.
 */

import { api } from "./api.js";
import { listen } from "./stream.js";
import { choices, choose, countJudgements, emit, firstSettings, tellTabs } from "./state.js";
import { continues, leafBelow, pathTo } from "./tree.js";

/** @typedef {import("./stream.js").Writing} Writing */

/**
 * @typedef {object} Watcher
 * @property {() => void} onPath  the turns that are shown, or the settings, may have changed
 * @property {(turn: Turn, writing: Writing | null) => void} onTurn  one turn has grown or ended
 * @property {(is_lost: boolean) => void} onConnection
 * @property {() => void} onGone  the server no longer has this conversation
 */

/** One conversation, or a new one that the server does not know before the first question. */
export class Talk {
  /**
   * @param {Conversation | null} conversation
   * @param {Turn[]} turns
   * @param {Judged[]} judgements
   * @param {Watcher} watcher
   */
  constructor(conversation, turns, judgements, watcher) {
    this.conversation = conversation;
    /** @type {Settings} */
    this.settings = conversation ?? firstSettings();
    this.turns = new Map(turns.map((turn) => [turn.id, turn]));
    /** What this person thinks of the answers. */
    this.judgements = judgements;
    this.leaf = conversation?.leaf ?? "";
    this.watcher = watcher;
    /** @type {Map<string, Writing>} */
    this.writing = new Map();
    this.attend();
  }

  get id() {
    return this.conversation?.id ?? "";
  }

  get path() {
    return pathTo(this.turns, this.leaf);
  }

  /** The answer on the shown path that is being written. */
  get unfinished() {
    return this.path.findLast((turn) => turn.status === "writing");
  }

  /** Listen to every answer that is being written. */
  attend() {
    for (const turn of this.turns.values()) {
      if (turn.status === "writing" && !this.writing.has(turn.id)) this.writing.set(turn.id, this.follow(turn));
    }
  }

  /** @param {Turn} turn */
  follow(turn) {
    return listen(turn, {
      onGrowth: (writing) => this.watcher.onTurn(this.turns.get(turn.id) ?? turn, writing),
      onDone: (done) => {
        this.writing.delete(turn.id);
        this.turns.set(done.id, done);
        this.watcher.onTurn(done, null);
        this.watcher.onPath();
        emit("conversations");
        emit("models");
      },
      onLoading: () => emit("models"),
      onConnection: (is_lost) => {
        this.watcher.onConnection(is_lost);
        if (!is_lost) void this.reload();
      },
      onRefused: async () => {
        try {
          await this.reload(); // an answer that is over by now is no longer listened to
          if (!this.writing.has(turn.id)) this.watcher.onConnection(false);
        } catch (error) {
          if (/** @type {import("./api.js").ApiError} */ (error).status !== 404) return;
          this.close();
          this.watcher.onGone();
        }
      },
    });
  }

  /** Fetch the conversation again: after a lost connection, or when another tab changed it. */
  async reload() {
    if (!this.id) return;
    const { conversation, turns, judgements } = await api.conversation(this.id);
    const shown = this.leaf;
    this.conversation = conversation;
    this.settings = conversation;
    this.judgements = judgements;
    for (const turn of turns) {
      const known = this.turns.get(turn.id);
      const is_news = JSON.stringify(known) !== JSON.stringify(turn); // the same object says that nothing changed
      if (is_news && (!this.writing.has(turn.id) || turn.status !== "writing")) this.turns.set(turn.id, turn);
    }
    for (const [id, writing] of this.writing) {
      if (this.turns.get(id)?.status === "writing") continue;
      writing.close();
      this.writing.delete(id);
    }
    if (continues(this.turns, conversation.leaf, shown)) this.leaf = conversation.leaf;
    this.attend();
    this.watcher.onPath();
  }

  /**
   * Take turns that the server has made, show the last of them, and listen to it.
   *
   * @param {...Turn} turns
   */
  take(...turns) {
    for (const turn of turns) {
      this.turns.set(turn.id, turn);
      this.leaf = turn.id;
    }
    this.attend();
    this.watcher.onPath();
    tellTabs(this.id);
    emit("conversations");
  }

  /**
   * Say something after `parent`; the first question makes the conversation.
   *
   * @param {string} text
   * @param {string} [parent]
   */
  async say(text, parent = this.path.at(-1)?.id ?? "") {
    if (!this.conversation) {
      this.conversation = await api.create(this.settings);
      this.settings = this.conversation;
    }
    const { question, answer, conversation } = await api.say(this.id, parent, text);
    this.conversation = conversation; // the first question has given it a title
    this.settings = conversation;
    this.take(question, answer);
  }

  /** @param {Turn} question */
  async answerAgain(question) {
    const { model, strategy, sampling } = this.settings;
    this.take((await api.answerAgain(question.id, { model, strategy, sampling })).answer);
  }

  /** @param {Turn} answer */
  async goOn(answer) {
    this.take((await api.goOn(answer.id)).answer);
  }

  /** @param {string} before @param {number} n @param {number} token */
  async branch(before, n, token) {
    const { answer } = await api.branch(before, n, token);
    this.take(answer);
    return answer;
  }

  /** @param {Turn} rejected @param {string} text */
  async writeBetter(rejected, text) {
    const { answer, judgement, num } = await api.writeBetter(rejected.id, text);
    this.judgements = [...this.judgements, judgement];
    this.take(answer);
    countJudgements(num);
  }

  /**
   * Judge answers; what was thought of the same ones before is taken back.
   *
   * @param {JudgedKind} kind
   * @param {string[]} answers
   * @param {JudgedValue} value
   */
  async judge(kind, answers, value) {
    const before = this.judgements.find(
      (one) => one.kind === kind && String(one.answers.toSorted()) === String(answers.toSorted()),
    );
    const { judgement, num } = await api.judge(kind, answers, value);
    this.judgements = [...this.judgements.filter((one) => one !== before), judgement];
    countJudgements(num);
    this.watcher.onPath();
    if (before && kind !== "rating") await this.takeBack(before); // a newer rating has replaced it already
  }

  /** @param {Judged} judgement */
  async takeBack(judgement) {
    const { num } = await api.takeBack(judgement.id);
    this.judgements = this.judgements.filter((one) => one.id !== judgement.id);
    countJudgements(num);
    this.watcher.onPath();
  }

  async stop() {
    const turn = this.unfinished;
    if (turn) await api.stop(turn.id);
  }

  /**
   * Show another sibling of a turn, with what came after it.
   *
   * @param {Turn} turn
   */
  async show(turn) {
    this.leaf = leafBelow(this.turns, turn);
    this.watcher.onPath();
    await api.change(this.id, { leaf: this.leaf });
  }

  /**
   * Change the model, strategy, system prompt or sampling. New conversations begin with them too, but for the system
   * prompt and the seed.
   *
   * @param {Partial<Settings>} changes
   */
  async set(changes) {
    const { system: _, ...lasting } = changes;
    const sampling = { ...(changes.sampling ?? choices.settings.sampling), seed: null };
    choose({ settings: { ...choices.settings, ...lasting, sampling } });
    if (this.conversation) {
      this.conversation = await api.change(this.id, changes);
      this.settings = this.conversation;
    } else {
      this.settings = { ...this.settings, ...changes };
    }
    this.watcher.onPath();
    tellTabs(this.id);
  }

  close() {
    for (const writing of this.writing.values()) writing.close();
    this.writing.clear();
  }
}

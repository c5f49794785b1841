/**
 * An answer that is being written, read from the server's events. The browser connects again by itself while the
 * server is away; where the server refuses, as it may after a restart, this asks again until it answers.
 */

import { api } from "./api.js";

/**
 * @typedef {object} Writing  what has come so far
 * @property {string} html
 * @property {string} text
 * @property {string} thoughts
 * @property {TrailItem[]} trail
 * @property {LiveToken[]} tokens
 * @property {Usage | null} usage
 * @property {string} loading  the model that is read into memory before it can answer, or ""
 * @property {() => void} close  stop listening; the server goes on writing
 */

/**
 * @typedef {object} Listener
 * @property {(writing: Writing) => void} onGrowth
 * @property {() => void} onLoading  a model is read into memory
 * @property {(turn: Turn) => void} onDone
 * @property {(is_lost: boolean) => void} onConnection
 * @property {() => void} onRefused  the server is there, or not yet, but gives no events
 */

const RETRY_MS = 2000;

/**
 * Listen to the events of an answer.
 *
 * @param {Turn} turn
 * @param {Listener} listener
 * @returns {Writing}
 */
export function listen(turn, listener) {
  /** @type {EventSource} */
  let source;
  let timer = 0;
  let is_lost = false;

  /** @type {Writing} */
  const writing = {
    html: turn.html,
    text: turn.text,
    thoughts: turn.thoughts,
    trail: [...turn.trail],
    tokens: [],
    usage: turn.usage,
    loading: "",
    close: () => {
      clearTimeout(timer);
      source.close();
    },
  };

  /** @type {Record<string, (data: any) => void>} */
  const takes = {
    tokens: ({ tokens }) => {
      for (const token of tokens) writing.tokens[token.n] = token; // by number: a new connection may send some again
    },
    html: ({ html, text }) => Object.assign(writing, { html, text }),
    thoughts: ({ text }) => (writing.thoughts = text),
    trail: ({ index, item }) => (writing.trail[index] = item),
    usage: (usage) => (writing.usage = usage),
    loading: ({ model }) => {
      writing.loading = model;
      listener.onLoading();
    },
  };

  function connect() {
    source = new EventSource(api.eventsUrl(turn.id));
    source.onopen = () => {
      if (is_lost) listener.onConnection(false);
      is_lost = false;
    };
    source.onerror = () => {
      if (!is_lost) listener.onConnection(true);
      is_lost = true;
      if (source.readyState !== EventSource.CLOSED) return;
      timer = window.setTimeout(connect, RETRY_MS);
      listener.onRefused();
    };
    for (const [name, take] of Object.entries(takes)) {
      source.addEventListener(name, (event) => {
        take(JSON.parse(event.data));
        listener.onGrowth(writing);
      });
    }
    source.addEventListener("done", (event) => {
      writing.close();
      listener.onDone(JSON.parse(event.data));
    });
  }

  connect();
  return writing;
}

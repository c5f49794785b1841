/**
 * The server's API: one function a request, with the session's token on whatever changes something. Every failure is an
 * `ApiError` whose message can be shown as it is.
 */

import { t } from "./strings.js";

let csrf = tokenIn(document);
/** @type {Promise<void> | null} */
let renewing = null;

/** @param {Document} page */
function tokenIn(page) {
  return page.querySelector("meta[name=csrf-token]")?.getAttribute("content") ?? "";
}

/** Codes of a request whose session, or whose token, the server no longer knows. */
const ENDED = ["session", "csrf"];

/** A request that failed: `status` is 0 where the server was not reached. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string} code
   */
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Called when the session has no key; the page sets it to show the login form. */
export const session = { onLogin: () => {} };

/**
 * Send a request and return the response, or throw an ApiError. Where the session has ended, as it has after a restart of
 * the server, a new one is begun and the request is sent once more.
 *
 * @param {string} path
 * @param {RequestInit & { json?: unknown }} [options]
 */
export async function request(path, { json, ...init } = {}) {
  const headers = new Headers(init.headers);
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(json);
  }
  const send = () => {
    if (init.method && init.method !== "GET") headers.set("X-CSRF-Token", csrf);
    return reach(path, { ...init, headers });
  };
  let response = await send();
  let failed = response.ok ? null : await failure(response);
  if (failed && ENDED.includes(failed.code)) {
    renewing ??= renew().finally(() => (renewing = null));
    await renewing;
    response = await send();
    failed = response.ok ? null : await failure(response);
  }
  if (failed?.code === "login") session.onLogin();
  if (failed) throw failed;
  return response;
}

/** Load the page anew, for the cookie and the token of a new session that come with it. */
async function renew() {
  const response = await reach("/", { cache: "no-store" });
  csrf = tokenIn(new DOMParser().parseFromString(await response.text(), "text/html"));
}

/** @param {string} path @param {RequestInit} init */
async function reach(path, init) {
  try {
    return await fetch(path, { ...init, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(t("error.unreachable"), 0);
  }
}

/** @param {Response} response */
async function failure(response) {
  const body = await response.json().catch(() => ({}));
  const { message = t("error.status", { status: response.status }), code = "" } = body.error ?? {};
  return new ApiError(message, response.status, code);
}

/**
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {unknown} [json]
 * @returns {Promise<T>}
 */
async function ask(method, path, json) {
  return (await request(path, { method, json })).json();
}

const id = encodeURIComponent;

/** @typedef {{ answer: Turn }} WithAnswer */

export const api = {
  /** @returns {Promise<ServerState>} */
  state: () => ask("GET", "/api/state"),
  /** @param {string} key */
  login: (key) => ask("POST", "/api/login", { key }),

  /**
   * @param {{ search?: string, before?: number, limit?: number }} query
   * @returns {Promise<{ conversations: Conversation[], has_more: boolean }>}
   */
  conversations: ({ search = "", before, limit = 50 }) => {
    const query = new URLSearchParams({ limit: String(limit) });
    if (search) query.set("search", search);
    if (before !== undefined) query.set("before", String(before));
    return ask("GET", `/api/conversations?${query}`);
  },
  /** @param {string} conversation @returns {Promise<{ conversation: Conversation, turns: Turn[], judgements: Judged[] }>} */
  conversation: (conversation) => ask("GET", `/api/conversations/${id(conversation)}`),
  /** @param {Partial<Settings>} settings @returns {Promise<Conversation>} */
  create: (settings) => ask("POST", "/api/conversations", settings),
  /** @param {string} conversation @param {Partial<Conversation>} changes @returns {Promise<Conversation>} */
  change: (conversation, changes) => ask("PATCH", `/api/conversations/${id(conversation)}`, changes),
  /** @param {string} conversation */
  remove: (conversation) => ask("DELETE", `/api/conversations/${id(conversation)}`),
  /** @param {string} conversation */
  exportUrl: (conversation) => `/api/conversations/${id(conversation)}/export`,
  /** @param {string} json @returns {Promise<Conversation>} */
  importConversation: async (json) => {
    const headers = { "Content-Type": "application/json" };
    return (await request("/api/conversations/import", { method: "POST", body: json, headers })).json();
  },

  /** @param {string} conversation @param {string} parent @param {string} text */
  say: (conversation, parent, text) =>
    /** @type {Promise<{ question: Turn, answer: Turn, conversation: Conversation }>} */ (
      ask("POST", `/api/conversations/${id(conversation)}/turns`, { parent, text })
    ),
  /** @param {string} question @param {Partial<Settings>} [settings] @returns {Promise<WithAnswer>} */
  answerAgain: (question, settings = {}) => ask("POST", `/api/turns/${id(question)}/answers`, settings),
  /** @param {string} answer @returns {Promise<WithAnswer>} */
  goOn: (answer) => ask("POST", `/api/turns/${id(answer)}/continue`, {}),
  /** @param {string} answer @param {number} n @param {number} token @returns {Promise<WithAnswer>} */
  branch: (answer, n, token) => ask("POST", `/api/turns/${id(answer)}/branch`, { n, id: token }),
  /** @param {string} answer @returns {Promise<WithAnswer>} */
  stop: (answer) => ask("POST", `/api/turns/${id(answer)}/stop`, {}),
  /** @param {string} approval @param {boolean} allow */
  approve: (approval, allow) => ask("POST", `/api/approvals/${id(approval)}`, { allow }),
  /** @param {string} answer */
  eventsUrl: (answer) => `/api/turns/${id(answer)}/events`,
  /** @param {string} answer @param {number} n @returns {Promise<Passage>} */
  passage: (answer, n) => ask("GET", `/api/turns/${id(answer)}/passages/${n}`),

  /** @param {JudgedKind} kind @param {string[]} answers @param {JudgedValue} value @returns {Promise<ToldJudgement>} */
  judge: (kind, answers, value) => ask("POST", "/api/judgements", { kind, answers, value }),
  /** @param {string} judgement @returns {Promise<{ num: number }>} */
  takeBack: (judgement) => ask("DELETE", `/api/judgements/${id(judgement)}`),
  /** @param {string} talk @returns {Promise<{ judgements: Judged[] }>} */
  judgements: (talk) => ask("GET", `/api/judgements?talk=${id(talk)}`),
  /** @returns {Promise<JudgementStats>} */
  judgementStats: () => ask("GET", "/api/judgements/stats"),
  /** @param {string} prompt @param {string} answer @returns {Promise<ToldJudgement>} */
  demonstrate: (prompt, answer) => ask("POST", "/api/judgements/demonstrations", { prompt, answer }),
  /** @param {string} rejected @param {string} answer @returns {Promise<ToldJudgement & WithAnswer>} */
  writeBetter: (rejected, answer) => ask("POST", "/api/judgements/demonstrations", { rejected, answer }),
  /** @param {{ prompt: string, models: string[], sampling: Sampling, num: number }} wanted @returns {Promise<Drawn>} */
  drawPair: (wanted) => ask("POST", "/api/judging/pairs", wanted),
  /** @returns {Promise<Prompts>} */
  prompts: () => ask("GET", "/api/judging/prompts"),

  /** @param {string} base @returns {Promise<LearnState>} */
  learning: (base) => ask("GET", `/api/learn?base=${id(base)}`),
  /** @param {string} base */
  learn: (base) => ask("POST", "/api/learn", { base }),
  /** @param {string} attempt @param {"pause" | "resume" | "cancel"} act */
  steerLearning: (attempt, act) => ask("POST", `/api/learn/${id(attempt)}/${act}`, {}),
  /** @param {string} attempt @returns {Promise<DecidingPair>} */
  decidingPair: (attempt) => ask("GET", `/api/learn/${id(attempt)}/pair`),
  /** @param {string} attempt @param {number} n @param {Outcome} outcome @returns {Promise<{ attempt: Attempt }>} */
  decide: (attempt, n, outcome) => ask("POST", `/api/learn/${id(attempt)}/pairs/${n}`, { outcome }),
  /** @param {string} base */
  undoLearning: (base) => ask("POST", "/api/learn/undo", { base }),
  /** @param {string} base */
  learnEventsUrl: (base) => `/api/learn/events?base=${id(base)}`,

  /** @param {string} answer @returns {Promise<Lens>} */
  tokens: (answer) => ask("GET", `/api/turns/${id(answer)}/tokens`),
  /** @param {string} answer @returns {Promise<{ tokens: LiveToken[] }>} */
  colours: (answer) => ask("GET", `/api/turns/${id(answer)}/tokens?is_brief=true`),
  /** @param {string} answer @param {number} n @returns {Promise<{ layers: LayerReading[] }>} */
  layers: (answer, n) => ask("GET", `/api/turns/${id(answer)}/layers?n=${n}`),
  /** @param {string} answer @returns {Promise<Redraw>} */
  redraw: (answer) => ask("GET", `/api/turns/${id(answer)}/redraw`),
  /** @param {string} answer @returns {Promise<ToolChance>} */
  toolChance: (answer) => ask("GET", `/api/turns/${id(answer)}/calls`),

  /** @returns {Promise<{ documents: LibraryDocument[] }>} */
  library: () => ask("GET", "/api/library"),
  /** @param {string} document */
  removeDocument: (document) => ask("DELETE", `/api/library/documents/${id(document)}`),

  /** @returns {Promise<{ runs: RunSummary[] }>} */
  runs: () => ask("GET", "/api/runs"),
  /** @param {string} run @returns {Promise<RunDetail>} */
  run: (run) => ask("GET", `/api/runs/${id(run)}`),
  /** @param {string} run */
  runEventsUrl: (run) => `/api/runs/${id(run)}/events`,
  /** @param {string} run */
  reportUrl: (run) => `/api/runs/${id(run)}/report`,
};

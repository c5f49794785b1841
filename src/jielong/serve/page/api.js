/**
 * The server's API: one function a request, with the session's token on whatever changes something. Every failure is an
 * `ApiError` whose message can be shown as it is.
 */

import { t } from "./strings.js";

const csrf = document.querySelector("meta[name=csrf-token]")?.getAttribute("content") ?? "";

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
 * Send a request and return the response, or throw an ApiError.
 *
 * @param {string} path
 * @param {RequestInit & { json?: unknown }} [options]
 */
export async function request(path, { json, ...init } = {}) {
  const headers = new Headers(init.headers);
  if (init.method && init.method !== "GET") headers.set("X-CSRF-Token", csrf);
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(t("error.unreachable"), 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/** @param {Response} response */
async function failure(response) {
  const body = await response.json().catch(() => ({}));
  const { message = t("error.status", { status: response.status }), code = "" } = body.error ?? {};
  if (response.status === 401 && code === "login") session.onLogin();
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
  /** @param {string} conversation @returns {Promise<{ conversation: Conversation, turns: Turn[] }>} */
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
    /** @type {Promise<{ question: Turn, answer: Turn }>} */ (
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
  /** @param {string} answer @param {string} text @returns {Promise<WithAnswer>} */
  correct: (answer, text) => ask("PATCH", `/api/turns/${id(answer)}`, { text }),
  /** @param {string} approval @param {boolean} allow */
  approve: (approval, allow) => ask("POST", `/api/approvals/${id(approval)}`, { allow }),
  /** @param {string} answer */
  eventsUrl: (answer) => `/api/turns/${id(answer)}/events`,
  /** @param {string} answer @param {number} n @returns {Promise<Passage>} */
  passage: (answer, n) => ask("GET", `/api/turns/${id(answer)}/passages/${n}`),

  /** @param {string} answer @returns {Promise<Lens>} */
  tokens: (answer) => ask("GET", `/api/turns/${id(answer)}/tokens`),
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

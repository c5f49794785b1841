/**
 * What all parts of the page share: the server's state, and choices that outlive a reload. A part that changes something
 * emits an event, and whoever shows it listens; parts never call into each other for that.
 */

/**
 * @typedef {object} Choices  kept in localStorage
 * @property {"auto" | "light" | "dark"} theme
 * @property {"" | "en" | "zh"} language  empty: as the server says
 * @property {boolean} lens  whether tokens are coloured
 * @property {"surprise" | "probability" | "entropy"} colour
 * @property {Partial<Settings>} settings  what a new conversation begins with
 * @property {JudgingChoices} judging
 */

/**
 * @typedef {object} JudgingChoices
 * @property {string} model  whose answers are judged; empty: the first one's
 * @property {string} other  the model that it is compared with; empty: itself
 * @property {number} num  answers that are put in order
 * @property {boolean} own  whether the person's own questions are asked
 * @property {boolean} built_in  whether those that come along are
 * @property {string} lines  questions that were pasted, one a line
 */

/** "models": one was, or is being, read into memory. @typedef {"conversations" | "state" | "lens" | "models" | "judgements"} EventName */

const KEY = "jielong";
const bus = new EventTarget();

/** @type {ServerState} */
const EMPTY = {
  version: "",
  language: "en",
  models: [],
  strategies: [],
  tools: [],
  library: null,
  runs: false,
  num_judgements: 0,
  memory: { used_bytes: 0, limit_bytes: 0 },
};

export const page = { server: EMPTY };

/** @type {JudgingChoices} */
const JUDGING = { model: "", other: "", num: 3, own: true, built_in: true, lines: "" };

/** @type {Choices} */
export const choices = {
  theme: "auto",
  language: "",
  lens: false,
  colour: "surprise",
  settings: {},
  judging: JUDGING,
  ...stored(KEY),
};
choices.judging = { ...JUDGING, ...choices.judging };

/** @param {string} key */
function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {}; // a damaged entry is as good as none
  }
}

/**
 * Change choices and keep them.
 *
 * @param {Partial<Choices>} changes
 */
export function choose(changes) {
  Object.assign(choices, changes);
  localStorage.setItem(KEY, JSON.stringify(choices));
}

/**
 * Listen to an event until the signal ends it.
 *
 * @param {EventName} name
 * @param {() => void} listener
 * @param {AbortSignal} [signal]
 */
export function on(name, listener, signal) {
  bus.addEventListener(name, listener, { signal });
}

/** @param {EventName} name */
export function emit(name) {
  bus.dispatchEvent(new Event(name));
}

/**
 * Take the number of judgements there are now, as the server has told it.
 *
 * @param {number} num
 */
export function countJudgements(num) {
  page.server.num_judgements = num;
  emit("judgements");
}

/** @param {string} name */
export function modelNamed(name) {
  return page.server.models.find((model) => model.name === name);
}

/** @param {string} spec */
export function strategyOf(spec) {
  return page.server.strategies.find((strategy) => strategy.spec === spec);
}

/** What a new conversation begins with: the last choices, as far as the server still has them. */
export function firstSettings() {
  const { models, strategies } = page.server;
  const { model = "", strategy = "", system = "", sampling = {} } = choices.settings;
  const loaded = models.find((one) => one.is_loaded) ?? models[0];
  return {
    model: modelNamed(model) ? model : (loaded?.name ?? ""),
    strategy: strategyOf(strategy) ? strategy : (strategies[0]?.spec ?? ""),
    system,
    sampling,
  };
}

// Drafts -----------------------------------------------------------------------------------------------------------

/** @param {string} conversation empty for a new one */
export function draftOf(conversation) {
  return localStorage.getItem(`${KEY}.draft.${conversation}`) ?? "";
}

/** @param {string} conversation @param {string} text */
export function keepDraft(conversation, text) {
  if (text) localStorage.setItem(`${KEY}.draft.${conversation}`, text);
  else localStorage.removeItem(`${KEY}.draft.${conversation}`);
}

// Other tabs -------------------------------------------------------------------------------------------------------

const channel = new BroadcastChannel(KEY);

/**
 * Tell other tabs that a conversation changed.
 *
 * @param {string} conversation
 */
export function tellTabs(conversation) {
  channel.postMessage(conversation);
}

/**
 * Listen to other tabs until the signal ends it.
 *
 * @param {(conversation: string) => void} listener
 * @param {AbortSignal} [signal]
 */
export function onOtherTab(listener, signal) {
  channel.addEventListener("message", (event) => listener(event.data), { signal });
}

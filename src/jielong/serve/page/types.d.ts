// What the server's API sends and takes, by the names that all modules use in their JSDoc. Browsers never load this file.
// Times are seconds since the epoch.

interface ServerState {
  version: string;
  language: "en" | "zh";
  models: Model[];
  strategies: StrategyInfo[];
  tools: { name: string; description: string; changes: boolean }[];
  library: null | { path: string; num_documents: number };
  runs: boolean;
  num_judgements: number;
  memory: { used_bytes: number; limit_bytes: number };
}

interface Model {
  name: string;
  title: string;
  kind: "local" | "server";
  is_loaded: boolean;
  is_loading: boolean;
  bytes: number | null;
  context: number | null;
  is_base: boolean;
  has_lens: boolean;
  has_layers: boolean;
}

interface StrategyInfo {
  spec: string;
  name: string;
  help: { en: string; zh: string };
  calls: number | null;
  needs: "" | "library" | "tools";
}

interface Sampling {
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  repetition_penalty?: number;
  max_tokens?: number;
  seed?: number | null;
}

interface Settings {
  model: string;
  strategy: string;
  system: string;
  sampling: Sampling;
}

interface Conversation extends Settings {
  id: string;
  title: string;
  created: number;
  updated: number;
  leaf: string;
  origin: "page" | "terminal" | "import";
}

interface Turn {
  id: string;
  conversation: string;
  parent: string;
  role: "user" | "assistant";
  text: string;
  html: string;
  created: number;
  status: "writing" | "done" | "stopped" | "failed" | "interrupted";
  stop: string;
  error: string;
  model: string;
  strategy: string;
  seed: number | null;
  sampling: Sampling;
  thoughts: string;
  trail: TrailItem[];
  usage: Usage | null;
  is_edited: boolean;
  has_tokens: boolean;
  chosen: { of: string; n: number; id: number } | null;
}

type Outcome = "left" | "right" | "tie" | "bad";
interface JudgedValue {
  score?: number;
  reason?: string;
  scale?: "thumbs" | "stars";
  outcome?: Outcome;
  is_blind?: boolean;
  places?: number[];
  rejected?: string;
}
type JudgedKind = "rating" | "preference" | "ranking" | "demonstration";
interface Judged {
  id: string;
  kind: JudgedKind;
  question: string;
  answers: string[];
  value: JudgedValue;
  by: string;
  created: number;
}
interface ToldJudgement { judgement: Judged; wrote: Record<string, string>; num: number }
interface JudgementStats {
  num: number;
  counts: Record<JudgedKind, number>;
  blind: Record<Outcome, number>;
  models: ModelGroup[];
}
interface ModelGroup {
  reference: string;
  models: { name: string; comparisons: number; won: number; strength: { mean: number | null; low: number | null; high: number | null } }[];
}

interface DrawnAnswer { id: string; text: string; html: string }
interface Drawn { question: string; prompt: string; answers: DrawnAnswer[] }
interface Prompts { own: string[]; built_in: { en: string[]; zh: string[] } }

type AttemptState = "training" | "comparing" | "asking" | "promoted" | "refused" | "cancelled" | "failed";
/** Sentences of the server in both languages. */
interface Told { en: string; zh: string }
interface Attempt {
  id: string;
  state: AttemptState;
  method: string;
  base: string;
  started: number;
  is_paused: boolean;
  progress: number;
  eta_s: number | null;
  memory_bytes: number | null;
  why_told: Told;
  figures: Record<string, unknown> | null;
  pairs: { asked: number; least: number; most: number; won: number; lost: number; tied: number } | null;
}
interface LearnState {
  base: string;
  standing: unknown;
  advice_told: Told;
  attempt: Attempt | null;
  is_enough: boolean;
  history: (Attempt & { is_undone: boolean })[];
}
interface DecidingPair {
  n: number | null;
  prompt: string;
  messages: { role: "system" | "user" | "assistant"; text: string }[];
  left: { text: string; html: string };
  right: { text: string; html: string };
  attempt?: Attempt;
}

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  reused_tokens: number;
  calls: number;
  seconds: number;
  tokens_per_s: number;
  context: number | null;
}

interface NoteItem { kind: "note"; text: string }
interface CallItem { kind: "call"; number: number; label: string; depth: number; text: string; is_over: boolean }
interface ToolItem {
  kind: "tool";
  id: string;
  name: string;
  line: string;
  changes: boolean;
  state: "asks" | "runs" | "done" | "refused";
  result: string;
}
interface PassagesItem { kind: "passages"; query: string; passages: PassageRef[] }
interface DroppedItem { kind: "dropped"; num_turns: number }
type TrailItem = NoteItem | CallItem | ToolItem | PassagesItem | DroppedItem;

interface PassageRef { id: string; n: number; title: string; place: string; text: string }
interface Passage { title: string; place: string; text: string; before: string; after: string; url: string }

interface LiveToken { n: number; id: number; text: string; p: number; entropy: number }

interface Token extends LiveToken {
  is_special: boolean;
  by_model: boolean;
  logprob: number;
  surprise: number;
  rank: number;
  temperature: number;
  uniform: number | null;
  low: number;
  high: number;
  num_left: number;
  cuts: Cut[];
  likeliest: Candidate[];
}

interface Cut { filter: string; num_ids: number; probability: number }
interface Candidate { id: number; text: string; model: number; tempered: number; left: number; cut: string }
interface PromptToken { id: number; text: string; is_special: boolean }

interface Lens {
  model: string;
  weights: string;
  vocab_size: number;
  prompt: PromptToken[];
  tokens: Token[];
  stop: string;
}

interface LayerReading { layer: number; likeliest: { id: number; text: string; p: number }[]; p_taken: number }
interface Redraw { is_equal: boolean; first_difference: number | null; ids: number[]; weights: string }
interface ToolChance { p_call: number | null; p_answer: number | null }

interface ComparedToken { text: string; p: number; likeliest: { text: string; p: number }[] }
interface ComparedAnswer {
  model: string;
  text: string;
  is_base: boolean;
  tokens: ComparedToken[];
  reading: null | { logprobs: number[]; divergences: number[] };
}

interface LibraryDocument { id: string; title: string; num_passages: number; bytes: number; added: number }
interface UploadStep { state: "reading" | "embedding" | "done" | "failed"; done: number; of: number; message: string }

type RunState = "running" | "finished" | "stopped";
interface StageSummary { name: string; kind: string; state: string; progress: number | null; seconds: number | null }
interface RunSummary {
  name: string;
  recipe: string;
  size: string;
  seed: number;
  state: RunState;
  updated: number;
  stages: StageSummary[];
}
type Points = [number, number][];
interface StageDetail {
  name: string;
  state: string;
  lineage: string;
  metrics: Record<string, Points>;
  samples: RunSample[];
}
interface RunSample { step: number; prompt: string; text: string }
interface RunDetail {
  name: string;
  stages: StageDetail[];
  family: { name: string; parent: string }[];
  has_report: boolean;
}

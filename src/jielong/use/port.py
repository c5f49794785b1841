"""One port to a language model: a conversation goes in, an answer comes out, whoever is behind it.

Evaluation, strategies and tools speak to this port and never to an engine. What everybody offers is `ask`; `complete`
(bare text), `score` (log-probabilities of given answers) and `render` (the exact prompt) are offered by who can. Here is
the port to the engine in this process, which the recipe or the command line builds and hands in; `endpoint` has the
other one. All answers that are asked for at the same time are written by the engine at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from jielong.records import Conversation, Generator, Message, Request, Sample, Sampling
from jielong.runs import derive_seed
from jielong.tokens.chat import parse, parse_text, render_prompt
from jielong.tokens.stream import TextStream, cut_at_stop
from jielong.tokens.tokenizer import Tokenizer
from jielong.use.thoughts import Parting, parted
from jielong.use.tools.telling import told
from jielong.use.tools.tool import Tool

GREEDY = Sampling(max_tokens=256, temperature=0.0)


@dataclass(frozen=True)
class Usage:
    """What one or several calls cost.

    `reused_tokens` of the prompts were known from earlier requests and not read again; `calls` that ran at the same time
    count their seconds each.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    is_estimated: bool = False
    """Whether some of the tokens were counted here, as the server did not say how many there were."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reused_tokens + other.reused_tokens,
            self.calls + other.calls,
            self.seconds + other.seconds,
            self.is_estimated or other.is_estimated,
        )


@dataclass(frozen=True)
class Options:
    """How one answer is asked for. The same options, conversation and model give the same answer."""

    sampling: Sampling = GREEDY
    seed: int = 0
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tools the model may call: {"name", "description", "parameters" (a JSON schema)}."""
    logprobs: bool = False
    """Whether the answer must say the log-probabilities of its tokens; the engine in this process always does."""
    label: str = ""
    """What this call is for, in a word or two, for whoever watches: "vote 3"."""
    on_text: Callable[[str], None] | None = field(default=None, compare=False)
    """Gets the text in pieces while it is written."""
    on_thought: Callable[[str], None] | None = field(default=None, compare=False)
    """Gets what the model thinks before it answers, in pieces."""
    called: tuple[Tool, ...] = field(default=(), compare=False)
    """Tools whose calls are read from the text; whoever watches is not shown them."""

    def draw(self, *purpose: str | int, label: str = "", **sampling: Any) -> Options:
        """Options of one of several draws: a seed of its own for the purpose, a label, and changes to the sampling."""
        changed = replace(self.sampling, **sampling) if sampling else self.sampling
        seed = derive_seed(self.seed, *purpose)
        return replace(
            self, seed=seed, sampling=changed, label=label or " ".join(map(str, purpose)), on_text=None, on_thought=None
        )


@dataclass(frozen=True)
class Answer:
    """One answer: the message, what it cost and why it ended ("stop", "length", "tool_calls", "content_filter", "refusal",
    "budget", or what a strategy says).

    `thoughts` came before the message and are no part of it. `prompt_ids`, `ids` and `logprobs` (natural logs at the
    sampling temperature) are there where whoever answered says them.
    """

    message: Message
    usage: Usage = Usage()
    stop: str = ""
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    thoughts: str = ""

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def missing(self) -> str:
        """The sentence that says why there is no answer in it; "" where there is one."""
        if self.stop == "refusal":
            return "the model refused to answer"
        if self.text.strip() or self.message.tool_calls:
            return ""
        if self.stop == "content_filter":
            return "the server's filter kept the answer back"
        if self.thoughts:
            why = "and was cut before it answered; allow it more tokens" if self.stop == "length" else ""
            return f"the model only thought {why or 'and gave no answer'}"
        return f"the model gave no text (it ended with {self.stop!r})"

    @property
    def sample(self) -> Sample:
        """The answer as scorers take it."""
        return Sample(self.prompt_ids, self.ids, self.logprobs, stop=self.stop)


class Ask(Protocol):
    """Anything that answers: a port, or a strategy over one."""

    async def __call__(self, conversation: Conversation, options: Options = ...) -> Answer: ...


class Port(Protocol):
    """A language model."""

    @property
    def name(self) -> str: ...
    async def ask(self, conversation: Conversation, options: Options = ...) -> Answer: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Scored:
    """The summed natural log-probability of one given text, how long it is, and `logprobs` of each of its tokens."""

    logprob: float
    num_tokens: int
    num_bytes: int
    logprobs: tuple[float, ...] = ()


@runtime_checkable
class Completes(Protocol):
    """Goes on with bare text, as a base model does."""

    async def complete(self, text: str, options: Options = ...) -> Answer: ...


@runtime_checkable
class Scores(Protocol):
    """Says how likely given answers are, after a conversation or after bare text."""

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]: ...


@runtime_checkable
class Renders(Protocol):
    """Shows the exact prompt that a conversation becomes, special tokens included."""

    def render(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> str: ...


def _without_thoughts(message: Message) -> tuple[str, Message]:
    """The thoughts of a message, and the message without them."""
    thoughts, said = parted(message.text)
    return thoughts, message if said == message.text else replace(message, content=said)


@dataclass
class _Asked:
    """A request that the engine is writing."""

    text: TextStream
    over: asyncio.Future[Sample]
    told: Parting


Reads = Callable[[Sequence[int], Tokenizer], Message]
"""Makes a message of the ids of an answer."""


class LocalPort:
    """The engine in this process with its tokenizer."""

    def __init__(self, engine: Generator, tokenizer: Tokenizer, name: str = "local") -> None:
        self.engine, self.tokenizer, self._name = engine, tokenizer, name
        self._asked: dict[int, _Asked] = {}
        self._writer: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    async def close(self) -> None:
        """Nothing to let go of; ports to elsewhere have connections."""

    # --- one at a time, many at the same time

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:
        """The answer to a conversation; ConfigError where it does not fit into the model's positions."""
        return await self.go_on(self.prompt_ids(conversation, options.tools), options)

    async def complete(self, text: str, options: Options = Options()) -> Answer:
        """A plain continuation of bare text, as a base model gives it."""
        return await self.go_on((*self.tokenizer.opening, *self.tokenizer.encode(text)), options, parse_text)

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
        """How likely each of `answers` is after the conversation (in the assistant's turn) or after bare text."""
        if isinstance(prompt, str):
            before: tuple[int, ...] = (*self.tokenizer.opening, *self.tokenizer.encode(prompt))
        else:
            before = self.prompt_ids(prompt)
        ids = self.tokenizer.encode_batch(answers)
        logprobs = self.engine.score_many([(before, i) for i in ids])
        return [
            Scored(sum(found), len(found), len(answer.encode()), tuple(found))
            for found, answer in zip(logprobs, answers, strict=True)
        ]

    def render(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The exact prompt, with the text of special tokens where they stand."""
        ids = self.prompt_ids(conversation, tools)
        return self.tokenizer.decode_bytes(ids, skip_special=False).decode("utf-8", errors="replace")

    def prompt_ids(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> tuple[int, ...]:
        """The exact prompt. Where the chat template has no place for tools, a system message tells of them."""
        messages, offered = told(conversation.messages, tools, self.tokenizer)
        return render_prompt(messages, self.tokenizer, offered)

    async def go_on(self, prompt: tuple[int, ...], options: Options, read: Reads = parse) -> Answer:
        """What the model writes after exactly these ids, as `read` makes a message of it."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        number = self.engine.submit(Request(prompt, self._ended(options.sampling), options.seed))
        text = TextStream(self.tokenizer, options.sampling.stop)
        asked = self._asked[number] = _Asked(text, loop.create_future(), Parting(options.on_text, options.on_thought))
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write())
        try:
            sample = await asked.over
        finally:
            self._asked.pop(number, None)
            self.engine.cancel(number)
        message = read(sample.ids, self.tokenizer)
        if asked.text.stopped_by:
            message = replace(message, content=cut_at_stop(message.text, options.sampling.stop))
        thoughts, message = _without_thoughts(message)
        stop = "tool_calls" if message.tool_calls else "stop" if asked.text.stopped_by else sample.stop
        usage = Usage(len(prompt), len(sample.ids), sample.reused, 1, loop.time() - start_s)
        return Answer(message, usage, stop, prompt, sample.ids, sample.logprobs, thoughts)

    async def _write(self) -> None:
        """Step the engine until nobody waits any more; between two steps whoever is ready may ask."""
        try:
            while self._asked:
                await asyncio.sleep(0)
                for event in self.engine.step():
                    asked = self._asked.get(event.request)
                    if asked is None or asked.over.done():
                        continue
                    asked.told.push(asked.text.push(event.id))
                    sample = event.sample
                    if sample is not None:
                        asked.told.push(asked.text.finish())
                    elif asked.text.stopped_by:
                        sample = self.engine.cancel(event.request)
                    if sample is not None:
                        asked.told.finish()
                        asked.over.set_result(sample)
        except Exception as error:
            for asked in self._asked.values():
                if not asked.over.done():
                    asked.over.set_exception(error)

    # --- whole batches, for who waits for all of them

    def ask_many(self, conversations: Sequence[Conversation], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Answers in order. Request i draws with a seed of its own, so the batch it is in does not matter."""
        prompts = [self.prompt_ids(c) for c in conversations]
        return self._run(prompts, sampling, seed)

    def complete_many(self, texts: Sequence[str], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Plain continuations of bare text, as a base model gives them."""
        prompts = [(*self.tokenizer.opening, *self.tokenizer.encode(t)) for t in texts]
        return self._run(prompts, sampling, seed, parse_text)

    def score_many(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """For each text: the summed natural log-probability of its tokens, the first one left out, and their bytes.

        A text longer than the model's positions is read in windows; each begins with the last token of the one before.
        """
        width = self.engine.length - 1
        windows: list[tuple[int, list[int], list[int]]] = []
        for number, ids in enumerate(self.tokenizer.encode_batch(texts)):
            starts = range(0, max(0, len(ids) - 1), width)
            windows += [(number, ids[s : s + 1], ids[s + 1 : s + 1 + width]) for s in starts]
        totals = [(0.0, 0)] * len(texts)
        scored = self.engine.score_many([(first, rest) for _, first, rest in windows])
        for (number, _, rest), logprobs in zip(windows, scored, strict=True):
            total, num_bytes = totals[number]
            totals[number] = (total + sum(logprobs), num_bytes + int(self.tokenizer.byte_lengths[rest].sum()))
        return totals

    def _run(
        self, prompts: Sequence[tuple[int, ...]], sampling: Sampling, seed: int, read: Reads = parse
    ) -> list[Answer]:
        ended = self._ended(sampling)
        samples = self.engine.generate([Request(p, ended, derive_seed(seed, "ask", i)) for i, p in enumerate(prompts)])
        return [self._answer(sample, read) for sample in samples]

    def _answer(self, sample: Sample, read: Reads) -> Answer:
        thoughts, message = _without_thoughts(read(sample.ids, self.tokenizer))
        usage = Usage(len(sample.prompt_ids), len(sample.ids), sample.reused, 1)
        return Answer(message, usage, sample.stop, sample.prompt_ids, sample.ids, sample.logprobs, thoughts)

    def _ended(self, sampling: Sampling) -> Sampling:
        stops = (*sampling.stop_ids, *self.tokenizer.stop_ids)
        return replace(sampling, stop_ids=tuple(dict.fromkeys(stops)))

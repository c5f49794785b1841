"""The port to a language model: a conversation goes in, an answer comes out, from an engine or a server alike.

Evaluation, strategies and tools speak to this port and never to an engine. Every port offers `ask`; some also offer
`complete` (bare text), `score` (log-probabilities of given answers) and `render` (the exact prompt). Here is the port
to the engine in this process, which the recipe or the command line builds and hands in; `endpoint` has the other one.
All answers that are asked for at the same time are written by the engine at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from jielong.records import Conversation, Draw, Event, Generator, Message, Request, Sample, Sampling
from jielong.runs import derive_seed
from jielong.tokens.chat import parse, parse_text, render_prompt
from jielong.tokens.stream import TextStream, cut_at_stop
from jielong.tokens.tokenizer import Tokenizer
from jielong.use.thoughts import ThoughtSplitter, split_thoughts
from jielong.use.tools.rendering import fit_template
from jielong.use.tools.tool import Tool
from jielong.use.writing import InLoop, Writer

Allowed = Callable[[Sequence[int]], Any]
"""From the ids written so far to a bool mask (V,) of those that may come next, or None for all."""

GREEDY = Sampling(max_tokens=256, temperature=0.0)


@dataclass(frozen=True)
class Usage:
    """The cost of one or several calls.

    `reused_tokens` of the prompts were known from earlier requests and not prefilled; `calls` that ran at the same time
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
    """The options of one answer. The same options, conversation and model give the same answer."""

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
    on_event: Callable[[Event], None] | None = field(default=None, compare=False)
    """Gets each token of the engine in this process as it is written."""
    candidates: int = field(default=0, compare=False)
    """How many of the likeliest ids the draw of each token is to tell, for the engine in this process; 0 for no draws."""
    allowed: Allowed | None = field(default=None, compare=False)
    """From the ids written so far to those that may come next, for the engine in this process."""
    bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of ids, for the engine in this process."""
    opening_ids: tuple[int, ...] = ()
    """The answer begins with these ids, as if the model had written them, for the engine in this process."""
    called: tuple[Tool, ...] = field(default=(), compare=False)
    """Tools whose calls are read from the text; whoever watches is not shown them."""

    def draw(self, *purpose: str | int, label: str = "", **sampling: Any) -> Options:
        """Return options for one of several draws: a seed of its own for the purpose, a label, and changes to the
        sampling.
        """
        changed = replace(self.sampling, **sampling) if sampling else self.sampling
        seed = derive_seed(self.seed, *purpose)
        return replace(
            self,
            seed=seed,
            sampling=changed,
            label=label or " ".join(map(str, purpose)),
            on_text=None,
            on_thought=None,
            on_event=None,
            opening_ids=(),
        )


@dataclass(frozen=True)
class Answer:
    """One answer: the message, its cost and why it ended ("stop", "length", "tool_calls", "content_filter", "refusal",
    "budget", or a strategy's own word).

    `thoughts` came before the message and are no part of it. `prompt_ids`, `ids` and `logprobs` (natural logs at the
    sampling temperature) are there if the model's port tells them.
    """

    message: Message
    usage: Usage = Usage()
    stop: str = ""
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    thoughts: str = ""
    draws: tuple[Draw | None, ...] = ()
    """How each id was chosen, where that was asked for; None for one that the answer was begun with."""

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def missing(self) -> str:
        """Return the sentence that says why there is no answer in it, or "" if there is one."""
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
        """Return the answer as a sample for scorers."""
        return Sample(self.prompt_ids, self.ids, self.logprobs, stop=self.stop)


class Ask(Protocol):
    """The protocol of anything that answers: a port, or a strategy over one."""

    async def __call__(self, conversation: Conversation, options: Options = ...) -> Answer: ...


class Port(Protocol):
    """A language model."""

    @property
    def name(self) -> str: ...
    async def ask(self, conversation: Conversation, options: Options = ...) -> Answer: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Scored:
    """The summed natural log-probability of one given text, its length, and `logprobs` of each of its tokens."""

    logprob: float
    num_tokens: int
    num_bytes: int
    logprobs: tuple[float, ...] = ()


@runtime_checkable
class Completes(Protocol):
    """The protocol of a port that continues bare text, as a base model does."""

    async def complete(self, text: str, options: Options = ...) -> Answer: ...


@runtime_checkable
class Scores(Protocol):
    """The protocol of a port that scores given answers, after a conversation or after bare text."""

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]: ...


@runtime_checkable
class Renders(Protocol):
    """The protocol of a port that shows the exact prompt of a conversation, special tokens included."""

    def render(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> str: ...


def _without_thoughts(message: Message) -> tuple[str, Message]:
    """Split a message into its thoughts and the message without them."""
    thoughts, said = split_thoughts(message.text)
    return thoughts, message if said == message.text else replace(message, content=said)


class _Asked:
    """An answer that the engine is writing: its text so far, and the future that its end is set to."""

    def __init__(self, tokenizer: Tokenizer, options: Options) -> None:
        self.text = TextStream(tokenizer, options.sampling.stop)
        self.over: asyncio.Future[Sample | None] = asyncio.get_running_loop().create_future()
        """The whole sample, or None where a stop string ended it."""
        self.events: list[Event] = []
        self._told, self._on_event = ThoughtSplitter(options.on_text, options.on_thought), options.on_event
        for id in options.opening_ids:
            self._told.push(self.text.push(id))

    def hear(self, events: Sequence[Event]) -> None:
        """Take the next tokens."""
        for event in events:
            if self.over.done():
                return
            self.events.append(event)
            if self._on_event:
                self._on_event(event)
            self._told.push(self.text.push(event.id))
            if event.sample is not None:
                self._told.push(self.text.finish())
            if event.sample is not None or self.text.stopped_by:
                self._told.finish()
                self.over.set_result(event.sample)

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)


Reads = Callable[[Sequence[int], Tokenizer], Message]
"""Makes a message of the ids of an answer."""


class LocalPort:
    """The engine in this process with its tokenizer."""

    def __init__(
        self, engine: Generator, tokenizer: Tokenizer, name: str = "local", writer: Writer | None = None
    ) -> None:
        """Wrap an engine; `writer` steps it, by default in the caller's event loop."""
        self.engine, self.tokenizer, self._name = engine, tokenizer, name
        self.writer = writer or InLoop(engine)

    @property
    def name(self) -> str:
        return self._name

    async def close(self) -> None:
        """Do nothing: only ports to servers have connections."""

    # --- one at a time, many at the same time

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:
        """Answer a conversation. Raises ConfigError if it does not fit into the model's positions."""
        return await self.go_on(self.prompt_ids(conversation, options.tools), options)

    async def complete(self, text: str, options: Options = Options()) -> Answer:
        """Continue bare text, as a base model does."""
        return await self.go_on((*self.tokenizer.opening, *self.tokenizer.encode(text)), options, parse_text)

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
        """Score each of `answers` after the conversation (in the assistant's turn) or after bare text."""
        if isinstance(prompt, str):
            before: tuple[int, ...] = (*self.tokenizer.opening, *self.tokenizer.encode(prompt))
        else:
            before = self.prompt_ids(prompt)
        ids = self.tokenizer.encode_batch(answers)
        logprobs = await self.writer.call(lambda engine: engine.score_many([(before, i) for i in ids]))
        return [
            Scored(sum(found), len(found), len(answer.encode()), tuple(found))
            for found, answer in zip(logprobs, answers, strict=True)
        ]

    def render(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the exact prompt, with the text of special tokens where they stand."""
        ids = self.prompt_ids(conversation, tools)
        return self.tokenizer.decode_bytes(ids, skip_special=False).decode("utf-8", errors="replace")

    def prompt_ids(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> tuple[int, ...]:
        """Return the ids of the exact prompt. If the chat template has no place for tools, a system message describes
        them.
        """
        messages, offered = fit_template(conversation.messages, tools, self.tokenizer)
        return render_prompt(messages, self.tokenizer, offered)

    async def go_on(self, prompt: tuple[int, ...], options: Options, read: Reads = parse) -> Answer:
        """Continue exactly these ids, and make a message of the new ones with `read`."""
        start_s = asyncio.get_running_loop().time()
        opening = options.opening_ids
        asked = _Asked(self.tokenizer, options)
        number = self.writer.submit(
            Request((*prompt, *opening), self._ended(options.sampling), options.seed),
            asked.hear,
            asked.fail,
            allowed=options.allowed,
            bias=options.bias,
            num_candidates=options.candidates,
        )
        try:
            sample = await asked.over
            if sample is None:  # more may have been written meanwhile than was looked at
                sample = await self.writer.cancel(number) or Sample(prompt, ())
        finally:
            self.writer.drop(number)
        ids = (*opening, *(event.id for event in asked.events))
        logprobs = (*(0.0 for _ in opening), *(event.logprob for event in asked.events))
        draws = (*(None for _ in opening), *(event.draw for event in asked.events)) if options.candidates else ()
        message = read(ids, self.tokenizer)
        if asked.text.stopped_by:
            message = replace(message, content=cut_at_stop(message.text, options.sampling.stop))
        thoughts, message = _without_thoughts(message)
        stop = "tool_calls" if message.tool_calls else "stop" if asked.text.stopped_by else sample.stop
        seconds = asyncio.get_running_loop().time() - start_s
        usage = Usage(len(prompt) + len(opening), len(asked.events), sample.reused, 1, seconds)
        return Answer(message, usage, stop, prompt, ids, logprobs, thoughts, draws)

    # --- whole batches, for who waits for all of them

    def ask_many(self, conversations: Sequence[Conversation], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Answer conversations in order. Request i draws with a seed of its own, so the batch it is in does not matter."""
        prompts = [self.prompt_ids(c) for c in conversations]
        return self._run(prompts, sampling, seed)

    def complete_many(self, texts: Sequence[str], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Continue bare texts, as a base model does."""
        prompts = [(*self.tokenizer.opening, *self.tokenizer.encode(t)) for t in texts]
        return self._run(prompts, sampling, seed, parse_text)

    def score_many(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """Return for each text the summed natural log-probability of its tokens, the first one left out, and their
        bytes.

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
        """Generate for all prompts at once and make messages of the samples with `read`."""
        ended = self._ended(sampling)
        samples = self.engine.generate([Request(p, ended, derive_seed(seed, "ask", i)) for i, p in enumerate(prompts)])
        return [self._answer(sample, read) for sample in samples]

    def _answer(self, sample: Sample, read: Reads) -> Answer:
        """Make an answer of a sample, its thoughts apart from its message."""
        thoughts, message = _without_thoughts(read(sample.ids, self.tokenizer))
        usage = Usage(len(sample.prompt_ids), len(sample.ids), sample.reused, 1)
        return Answer(message, usage, sample.stop, sample.prompt_ids, sample.ids, sample.logprobs, thoughts)

    def _ended(self, sampling: Sampling) -> Sampling:
        stops = (*sampling.stop_ids, *self.tokenizer.stop_ids)
        return replace(sampling, stop_ids=tuple(dict.fromkeys(stops)))

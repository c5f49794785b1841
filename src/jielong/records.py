"""The nouns of the house: plain frozen data that every floor speaks in.

A page becomes a `Document`; a talk is a `Conversation` of `Message`s; a person's comparison is a `Preference`, a mark a
`Rating`. A `Request` goes into the engine and a `Sample` comes back; whoever judges, a metric, a rule, a reward model or
a person, is a `Scorer` and gives a `Score`. All of them go to and from plain dicts (and so to JSON) without loss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from jielong.errors import ConfigError, DataError, did_you_mean
from jielong.outside import Fields

ROLES = ("system", "user", "assistant", "tool")

Content = str | tuple[Mapping[str, Any], ...]
"""A string, or parts such as {"type": "text", "text": ...} and {"type": "image", ...}."""


def to_dict(record: Any) -> Any:
    """Plain dicts, lists and scalars of a record, leaving out fields that hold their default."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        out = {}
        for f in dataclasses.fields(record):
            value = getattr(record, f.name)
            has_default = f.default is not dataclasses.MISSING and value == f.default
            if not has_default and not (value == {} and f.default_factory is dict):
                out[f.name] = to_dict(value)
        return out
    if isinstance(record, Mapping):
        return {str(k): to_dict(v) for k, v in record.items()}
    if isinstance(record, (tuple, list)):
        return [to_dict(v) for v in record]
    return record


def _known_fields(cls: type, data: Any) -> Fields:
    fields = Fields(data, f"a {cls.__name__}")
    names = [f.name for f in dataclasses.fields(cls)]
    for key in fields.data:
        if key not in names:
            raise DataError(f"unknown field {key!r} in a {cls.__name__}; {did_you_mean(key, names)}")
    return fields


def _messages(fields: Fields, name: str) -> tuple[Message, ...]:
    return tuple(Message.from_dict(each.data) for each in fields.inners(name))


@dataclass(frozen=True)
class Document:
    """One text and where it came from. `meta` holds what later steps found out (language, scores)."""

    text: str
    id: str = ""
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Document:
        known = _known_fields(cls, data)
        return cls(known.text("text"), known.text("id", ""), known.text("source", ""), known.inner("meta", {}).data)


_PART = '{"type": "text", "text": "..."}'


@dataclass(frozen=True)
class Message:
    """One turn: who speaks and what is said. A tool's answer names the call it belongs to."""

    role: str
    content: Content
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    is_trained: bool = True
    """Whether the assistant learns to say it, where it is trained on."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(f"message has role {self.role!r:.80}; expected one of {', '.join(ROLES)}")
        is_text = isinstance(self.content, str)
        if not is_text and not (isinstance(self.content, tuple) and all(isinstance(p, Mapping) for p in self.content)):
            raise DataError(f"message has content {self.content!r:.80}; expected a string, or parts such as {_PART}")

    @property
    def text(self) -> str:
        """The textual content; of several parts, the text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        known = _known_fields(cls, data)
        if "role" not in known.data or "content" not in known.data:
            raise DataError(f"a message needs 'role' and 'content'; this one has {', '.join(known.data) or 'nothing'}")
        content = known.take("content")
        return cls(
            known.take("role"),
            tuple(content) if isinstance(content, list) else content,
            known.text("name", None),
            tuple(call.data for call in known.inners("tool_calls", None)),
            known.text("tool_call_id", None),
            known.flag("is_trained", True),
        )


@dataclass(frozen=True)
class Conversation:
    """Messages in order."""

    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conversation:
        known = _known_fields(cls, data)
        return cls(_messages(known, "messages"), known.inner("meta", {}).data)


@dataclass(frozen=True)
class Preference:
    """Of two continuations of `prompt`, how likely `chosen` is the better one: `label` in [0, 1], a tie is 0.5."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float = 0.0
    label: float = 1.0
    by: str = ""

    def __post_init__(self) -> None:
        for name, value in (("label", self.label), ("margin", self.margin)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise DataError(f"preference {name} is {value!r}; expected a finite number")
        if not 0.0 <= self.label <= 1.0:
            raise DataError(f"preference label {self.label!r} is outside [0, 1]; 1 prefers `chosen`, 0.5 is a tie")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preference:
        known = _known_fields(cls, data)
        for key in ("prompt", "chosen", "rejected"):
            if key not in known.data:
                raise DataError(f"a preference needs 'prompt', 'chosen' and 'rejected'; {key!r} is missing")
        return cls(
            _messages(known, "prompt"),
            _messages(known, "chosen"),
            _messages(known, "rejected"),
            margin=known.take("margin", 0.0),
            label=known.take("label", 1.0),
            by=known.text("by", ""),
        )


@dataclass(frozen=True)
class Rating:
    """A mark for one answer, on the rater's own scale."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    score: float
    by: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rating:
        known = _known_fields(cls, data)
        return cls(_messages(known, "prompt"), _messages(known, "answer"), known.number("score"), known.text("by", ""))


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn and when to stop.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0 and `repetition_penalty` 1 are off. `stop_ids` end a
    sample and stay in it; `stop` are strings that the text layer watches for (the engine knows ids only).
    """

    max_tokens: int = 128
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = 2**31 - 1
        limits = {
            "max_tokens": (1 <= self.max_tokens <= most, f"at least 1, and at most {most}"),
            # logits over a smaller one, or a penalty beyond these, leave the numbers that there are in float32
            "temperature": (
                self.temperature == 0 or 1e-6 <= self.temperature <= 1e6,
                "0 (greedy), or from 0.000001 to 1,000,000",
            ),
            "top_k": (0 <= self.top_k <= most, f"0 (off) or more, and at most {most}"),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "min_p": (0 <= self.min_p < 1, "in [0, 1)"),
            "repetition_penalty": (1e-6 <= self.repetition_penalty <= 1e6, "from 0.000001 to 1,000,000 (1 is off)"),
        }
        for name, (is_fine, right) in limits.items():
            if not is_fine:
                raise ConfigError(f"sampling option {name} is {getattr(self, name)!r}; it must be {right}")


@dataclass(frozen=True)
class Request:
    """Token ids to continue, how, and the seed of its dice."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling = Sampling()
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """What came back for one request.

    `logprobs` are natural logs at the sampling temperature, before truncation, one per id; `by_model` is False on
    tokens the model did not write (a tool's result). `stop` says why it ended: "stop", "length" or "cancelled".
    `reused` counts the prompt's tokens that were not read for it, as an earlier or simultaneous request had read them;
    it says what the sample cost and not what it is, so samples that differ in it alone are equal.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    by_model: tuple[bool, ...] = ()
    stop: str = ""
    weights_version: int = 0
    reused: int = field(default=0, compare=False)


class Candidate(NamedTuple):
    """An id that may come next, and its probability on the way to the draw."""

    id: int
    model: float
    """The model's own, at temperature 1."""
    tempered: float
    """At the temperature, and after a repetition penalty: before anything is cut."""
    left: float
    """Of what the filters left; 0 for an id that was cut."""
    cut: str = ""
    """The filter that cut it; "" for an id that was left."""


class Cut(NamedTuple):
    """A filter ("mask", "top-k", "top-p" or "min-p", in this order), and how much it cut of what those before it left."""

    filter: str
    num_ids: int
    probability: float
    """In the distribution before all of them."""


KEPT_CANDIDATES = 20
"""Likeliest ids of a draw, where it is kept or told whole."""


@dataclass(frozen=True)
class Draw:
    """How one token was chosen: from what, what was cut away, by which number, and where that fell.

    `likeliest` are best first, by their probability before the cuts; `rank` is the place of the `taken` id among all, 1 for the
    likeliest. `uniform` is the number in [0, 1) that chose it, None at temperature 0, where the likeliest is taken. With the
    ids that are left laid end to end in the order of their numbers, each as wide as its probability, it fell between `low`
    and `high`.
    """

    taken: Candidate
    rank: int
    likeliest: tuple[Candidate, ...]
    temperature: float
    cuts: tuple[Cut, ...]
    num_left: int
    uniform: float | None
    low: float
    high: float
    entropy: float = 0.0
    """In bits, of the distribution before the filters."""


class Event(NamedTuple):
    """Token `n` of one request's answer. `stop` is "" until the last, which carries the whole `sample`."""

    request: int
    n: int
    id: int
    position: int
    """Where it stands in prompt and answer together; whoever fills gaps may write a later one first."""
    logprob: float
    uniform: float | None
    """The number that chose it; None for a greedy token."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most likely ids and their log-probabilities, best first, as many as were asked for."""
    stop: str = ""
    sample: Sample | None = None
    draw: Draw | None = None
    """How it was chosen, where that was asked for."""


class Generator(Protocol):
    """Whoever writes tokens: an engine in this process, or anyone who offers the same."""

    @property
    def length(self) -> int:
        """Positions that a prompt and its answer may take together."""
        ...

    def submit(self, request: Request) -> int: ...
    def step(self) -> list[Event]: ...
    def cancel(self, id: int) -> Sample | None: ...
    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...
    def score_many(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]: ...


class LocalGenerator(Generator, Protocol):
    """A generator whose weights are in this process and can be replaced; one elsewhere has none to load."""

    def load(self, state: Mapping[str, Any], version: int) -> None: ...


@dataclass(frozen=True)
class Observation:
    """What a text world shows: what is seen, the actions that can be done now, what is wanted.

    `finish` is the action that says that the goal is reached; "" where the world ends by itself.
    """

    text: str
    admissible: tuple[str, ...]
    goal: str
    finish: str = ""


@dataclass(frozen=True)
class Score:
    """A judgement: its value, the answer it was given for, why, and who gave it."""

    value: float
    answer: str = ""
    why: str = ""
    source: str = ""


class Scorer(Protocol):
    """One protocol for a metric, a rule reward, a reward model, a judge, best-of-n and a person's rating."""

    def __call__(self, items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]: ...

"""People's judgements of answers, in one form from the page to the loss.

A comparison of two answers is a `Preference`, a mark for one a `Rating`, several in order a `Ranking`, and an answer
that a person wrote a `Demonstration`. `by` is the judge's name; `vote` has the time and the exact answers. All convert
to plain dicts without loss (`to_dict`), and back (`judgement_from`, for any kind).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

from jielong.errors import DataError
from jielong.outside import Fields
from jielong.records.conversations import Message, known_fields, messages_of, to_dict

PairOutcome = Literal["left", "right", "tie", "bad"]
"""A vote on two answers side by side; "bad" says that both are."""
OUTCOMES: tuple[PairOutcome, ...] = get_args(PairOutcome)


@dataclass(frozen=True)
class AnswerSource:
    """The source of an answer: the turn that holds it, the model that wrote it and the tokens as they were drawn."""

    turn: str = ""
    model: str = ""
    digest: str = ""
    """Of the model's weights."""
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Vote:
    """The circumstances of a judgement: its time, and the judged answers in the order of the record.

    `at` is in seconds since the epoch, 0 if unknown. For a pair, `shown_first` is 1 if `chosen` was shown first (left),
    0 if second, -1 if unknown. In a blind vote the voter did not know which model wrote which answer.
    """

    id: str = ""
    at: float = 0.0
    is_blind: bool = False
    shown_first: int = -1
    answers: tuple[AnswerSource, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vote:
        """Read a vote from plain data. Raises DataError for a field that is unknown or of another kind."""
        known = known_fields(cls, data)
        return cls(
            known.text("id", ""),
            known.number("at", 0.0, low=0, high=1e11),
            known.flag("is_blind", False),
            known.whole("shown_first", -1, low=-1, high=1),
            tuple(_source(one) for one in known.inners("answers", [])),
        )


def _source(fields: Fields) -> AnswerSource:
    known = known_fields(AnswerSource, fields.data)
    names = [known.text(name, "") for name in ("turn", "model", "digest")]
    return AnswerSource(*names, *(tuple(known.wholes(name, ())) for name in ("prompt_ids", "ids")))


@dataclass(frozen=True)
class Preference:
    """Two continuations of `prompt`: `label` in [0, 1] is the probability that `chosen` is better, 0.5 for a tie."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float = 0.0
    label: float = 1.0
    by: str = ""
    vote: Vote = Vote()

    def __post_init__(self) -> None:
        for name, value in (("label", self.label), ("margin", self.margin)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise DataError(f"preference {name} is {value!r}; expected a finite number")
        if not 0.0 <= self.label <= 1.0:
            raise DataError(f"preference label {self.label!r} is outside [0, 1]; 1 prefers `chosen`, 0.5 is a tie")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preference:
        """Read a preference from plain data. Raises DataError, which says what is missing or wrong."""
        known = known_fields(cls, data)
        for key in ("prompt", "chosen", "rejected"):
            if key not in known.data:
                raise DataError(f"a preference needs 'prompt', 'chosen' and 'rejected'; {key!r} is missing")
        return cls(
            messages_of(known, "prompt"),
            messages_of(known, "chosen"),
            messages_of(known, "rejected"),
            margin=known.take("margin", 0.0),
            label=known.take("label", 1.0),
            by=known.text("by", ""),
            vote=_vote(known),
        )


@dataclass(frozen=True)
class Rating:
    """A mark for one answer; marks given here are from 0 (bad) to 1 (good). `reason` is the rater's own text."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    score: float
    by: str = ""
    reason: str = ""
    vote: Vote = Vote()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rating:
        """Read a rating from plain data. Raises DataError, which says what is missing or wrong."""
        known = known_fields(cls, data)
        return cls(
            messages_of(known, "prompt"),
            messages_of(known, "answer"),
            known.number("score"),
            known.text("by", ""),
            known.text("reason", ""),
            _vote(known),
        )


@dataclass(frozen=True)
class Ranking:
    """Answers to one prompt in order: `answers[i]` has place `places[i]`, 0 is the best, and equal places are a tie."""

    prompt: tuple[Message, ...]
    answers: tuple[tuple[Message, ...], ...]
    places: tuple[int, ...]
    by: str = ""
    vote: Vote = Vote()

    def __post_init__(self) -> None:
        if len(self.answers) < 2 or len(self.places) != len(self.answers):
            raise DataError(
                f"a ranking has {len(self.answers)} answers and {len(self.places)} places; expected two or more, and as many"
            )

    def comparisons(self) -> list[tuple[int, int, float]]:
        """Return each pair of answers as (better, worse, 1.0) by their indices, ties as (first, second, 0.5)."""
        found = []
        for a, b in combinations(range(len(self.answers)), 2):
            if self.places[b] < self.places[a]:
                a, b = b, a
            found.append((a, b, 0.5 if self.places[a] == self.places[b] else 1.0))
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ranking:
        """Read a ranking from plain data. Raises DataError, which says what is missing or wrong."""
        known = known_fields(cls, data)
        answers = known.take("answers")
        if not isinstance(answers, list):
            known.wrong("answers", "a list of answers")
        return cls(
            messages_of(known, "prompt"),
            tuple(messages_of(Fields({"answer": one}, "an answer of a Ranking"), "answer") for one in answers),
            tuple(known.wholes("places")),
            known.text("by", ""),
            _vote(known),
        )


@dataclass(frozen=True)
class Demonstration:
    """An answer that a person wrote; `rejected` is the answer it replaces, if any."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    rejected: tuple[Message, ...] = ()
    by: str = ""
    vote: Vote = Vote()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Demonstration:
        """Read a demonstration from plain data. Raises DataError, which says what is missing or wrong."""
        known = known_fields(cls, data)
        return cls(
            messages_of(known, "prompt"),
            messages_of(known, "answer"),
            tuple(Message.from_dict(each.data) for each in known.inners("rejected", [])),
            known.text("by", ""),
            _vote(known),
        )


Judgement = Preference | Rating | Ranking | Demonstration

KINDS: Mapping[str, type[Preference] | type[Rating] | type[Ranking] | type[Demonstration]] = {
    "preference": Preference,
    "rating": Rating,
    "ranking": Ranking,
    "demonstration": Demonstration,
}


def kind_of(judgement: Judgement) -> str:
    """Return the kind of a judgement, by its name in `KINDS`."""
    return type(judgement).__name__.lower()


def judgement_to(judgement: Judgement) -> dict[str, Any]:
    """Convert a judgement to plain JSON, with its kind."""
    return {"kind": kind_of(judgement), **to_dict(judgement)}


def judgement_from(data: Mapping[str, Any]) -> Judgement:
    """Read a judgement of any kind from `judgement_to`'s plain JSON. Raises DataError, which says what is wrong."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"'kind' is {kind!r:.80}; expected one of {', '.join(KINDS)}")
    return KINDS[kind].from_dict({name: value for name, value in data.items() if name != "kind"})


def _vote(known: Fields) -> Vote:
    return Vote.from_dict(known.inner("vote", {}).data)

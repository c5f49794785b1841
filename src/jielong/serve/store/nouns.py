"""The nouns of the store: a conversation, its turns, the trace of an answer, and judgements of answers.

The turns of a talk are a tree. A regenerated answer is a sibling of the first, an edited question a sibling of the old
one, and the talk's `leaf` marks the current branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.errors import DataError
from jielong.outside import MOST
from jielong.records import OUTCOMES, Draw

ORIGINS = ("page", "terminal", "import", "judging", "feedback")
"""Where talks begin: on the page, in the terminal, in a file; `HIDDEN` ones stand in no list of conversations."""
HIDDEN = ("judging", "feedback")
"""Answers that were drawn to be judged, and those that a person wrote for it or that came from a file."""
TURN_ROLES = ("user", "assistant")
JUDGED_KINDS = ("rating", "preference", "ranking", "demonstration")
MAX_VOTER, MAX_RANKED = 64, 8
STATUSES = ("writing", "done", "stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Talk:
    """A conversation, and the model for its next question. Times are seconds since the epoch.

    `sampling` holds options by their names in `records.Sampling`, and `seed`; `leaf` is the last turn of the current
    branch, "" in an empty conversation.
    """

    id: str
    title: str
    created: float
    updated: float
    model: str = ""
    strategy: str = ""
    system: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    leaf: str = ""
    origin: str = "page"

    def __post_init__(self) -> None:
        _demand("conversation", "origin", self.origin, ORIGINS)


@dataclass(frozen=True)
class Turn:
    """A question or an answer. `parent` is the turn before it, "" at the root of the tree.

    `digest` is that of the model's weights, `stop` the reason why the answer ended, and `error` why it failed. `trail`
    are notes of a strategy: calls, tools, passages. `chosen` is the token at which an answer branched off from another.
    """

    id: str
    talk: str
    parent: str
    role: str
    content: str
    created: float
    status: str = "done"
    stop: str = ""
    error: str = ""
    model: str = ""
    digest: str = ""
    strategy: str = ""
    seed: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    thoughts: str = ""
    trail: tuple[Mapping[str, Any], ...] = ()
    usage: Mapping[str, Any] | None = None
    is_edited: bool = False
    chosen: Mapping[str, Any] | None = None
    has_trace: bool = False

    def __post_init__(self) -> None:
        _demand("turn", "role", self.role, TURN_ROLES)
        _demand("turn", "status", self.status, STATUSES)
        if self.seed is not None and not 0 <= self.seed <= MOST:
            raise DataError(f"turn has seed {self.seed}; expected a whole number from 0 to {MOST}")


@dataclass(frozen=True)
class Trace:
    """The draws of an answer's tokens.

    `logprobs`, `by_model` and `draws` hold one item for each of `ids`; a draw is None if it was not requested, or if
    the token was not sampled. `weights` is the number format of the engine's weights, such as "int8".
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    by_model: tuple[bool, ...]
    draws: tuple[Draw | None, ...]
    weights: str = ""
    seed: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("logprobs", "by_model", "draws"):
            if len(getattr(self, name)) != len(self.ids):
                raise DataError(
                    f"trace has {len(self.ids)} ids and {len(getattr(self, name))} {name}; expected as many"
                )


@dataclass(frozen=True)
class Judged:
    """A person's judgement of answers to one question, by ids of turns; `records.Judgement` has the texts.

    `answers` are ids of turns. By kind, `value` holds: of a rating, `score` (0 to 1), `reason` and `scale` ("thumbs" or
    "stars"); of a preference between the left and the right answer, `outcome` (one of `records.OUTCOMES`) and
    `is_blind`; of a ranking, `places` as in `records.Ranking`; of a demonstration, which is the one answer, `rejected`:
    the id of the answer that it replaces, or "". `purpose` is "" if it may be learned from, else the comparison that it
    decides.
    """

    id: str
    kind: str
    question: str
    answers: tuple[str, ...]
    value: Mapping[str, Any]
    by: str
    created: float
    purpose: str = ""

    def __post_init__(self) -> None:
        _demand("judgement", "kind", self.kind, JUDGED_KINDS)
        if len(self.by) > MAX_VOTER:
            raise DataError(f"the voter's name has {len(self.by)} letters; expected at most {MAX_VOTER}")
        getattr(self, f"_check_{self.kind}")()

    def _check_rating(self) -> None:
        """Check the value of a rating."""
        self._check_count(1, 1)
        score = self.value.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise DataError(f"a rating has score {score!r:.80}; expected a number from 0 to 1")

    def _check_preference(self) -> None:
        self._check_count(2, 2)
        _demand("pair", "outcome", self.value.get("outcome", ""), OUTCOMES)

    def _check_ranking(self) -> None:
        """Check the places of a ranking."""
        self._check_count(2, MAX_RANKED)
        places = self.value.get("places")
        if not isinstance(places, list | tuple) or sorted(set(places)) != list(range(len(set(places)))):
            raise DataError(f"a ranking has places {places!r:.80}; expected 0, 1, 2 and so on, equal ones for ties")
        if len(places) != len(self.answers):
            raise DataError(f"a ranking of {len(self.answers)} answers has {len(places)} places; expected as many")

    def _check_demonstration(self) -> None:
        self._check_count(1, 1)

    def _check_count(self, least: int, most: int) -> None:
        """Raise DataError unless the answers are all different and from `least` to `most` in number."""
        if not least <= len(self.answers) <= most or len(set(self.answers)) != len(self.answers):
            expected = f"{least}" if least == most else f"{least} to {most}"
            raise DataError(f"a {self.kind} is of {len(self.answers)} answers; expected {expected} different ones")


def _demand(noun: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DataError(f"{noun} has {name} {value!r:.80}; expected one of {', '.join(allowed)}")

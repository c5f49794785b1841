"""The nouns of the store: a talk, a turn of it, and the trace of an answer.

The turns of a talk are a tree. A regenerated answer is a sibling of the first, an edited question a sibling of the old one,
and the talk's `leaf` says which branch is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.errors import DataError
from jielong.outside import MOST
from jielong.records import Draw

ORIGINS = ("page", "terminal", "import")
TURN_ROLES = ("user", "assistant")
STATUSES = ("writing", "done", "stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Talk:
    """A conversation, and whom its next question goes to. Times are seconds since the epoch.

    `sampling` holds options by their names in `records.Sampling`, and `seed`; `leaf` is the last turn of the branch that is
    read, "" while nothing was said.
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

    `digest` is that of the model's weights, `stop` says why the answer ended, and `error` why it failed. `trail` are notes of
    a strategy: calls, tools, passages. `chosen` says of an answer that branched off at a token which one that was.
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
    """How every token of an answer was drawn, as far as that is known.

    `logprobs`, `by_model` and `draws` hold one item for each of `ids`; a draw is None where nobody asked for it or where
    nothing was drawn. `weights` is the number format of the weights that computed it, such as "int8".
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


def _demand(noun: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DataError(f"{noun} has {name} {value!r:.80}; expected one of {', '.join(allowed)}")

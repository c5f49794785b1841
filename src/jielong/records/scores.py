"""Observations of text worlds, and scores of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jielong.records.conversations import Conversation
from jielong.records.generation import Sample


@dataclass(frozen=True)
class Observation:
    """One view of a text world: a description, the admissible actions, and the goal.

    `finish` is the action that declares the goal reached. Returns "" if the world ends by itself.
    """

    text: str
    admissible: tuple[str, ...]
    goal: str
    finish: str = ""


@dataclass(frozen=True)
class Score:
    """A judgement: its value, the judged answer, the reason, and the scorer."""

    value: float
    answer: str = ""
    why: str = ""
    source: str = ""


class Scorer(Protocol):
    """One protocol for a metric, a rule reward, a reward model, a judge, best-of-n and a person's rating."""

    def __call__(self, items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]: ...

"""What an experiment says: lines, each the scores of one way on its questions, what was wanted of it, and what it cost.

A line stands for itself: it holds what it is compared to, question by question, and the baseline that spent as many tokens.
So lines of several seeds are put together by joining their scores, and the table needs to know nothing of experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jielong.evaluate.statistics import Interval, mcnemar, paired_bootstrap, sign_flip_test, wilson

SURE = 0.05
"""A corrected p below which a difference counts."""


@dataclass(frozen=True)
class Cost:
    """Means of one question; `seconds` are of the clock, with all questions asked at the same time."""

    calls: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens + other.tokens, self.seconds + other.seconds)


@dataclass(frozen=True)
class Beside:
    """Whom a line is compared to: scores on the same questions in the same order."""

    name: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Wanted:
    """What is claimed of a line's mean, or of it beside others.

    "more" and "less" are differences that a paired test must show, against asking once and against equal tokens alike;
    "times" is a factor over what it is compared to; "about" is a share that is known, within four standard deviations.
    """

    what: Literal["at least", "at most", "about", "times", "more", "less"]
    value: float = 0.0


@dataclass(frozen=True)
class Line:
    """One way on its questions; without `wanted` it is there to be compared to."""

    name: str
    scores: tuple[float, ...]
    wanted: Wanted | None = None
    against: Beside | None = None
    equal: Beside | None = None
    """The baseline of equal tokens."""
    cost: Cost | None = None
    unit: str = "%"
    """Of the scores' mean: "%" of a share, else what is counted."""

    @property
    def beside(self) -> Beside:
        """Itself as what others are compared to."""
        return Beside(self.name, self.scores)

    @property
    def mean(self) -> float:
        return mean(self.scores)

    @property
    def is_binary(self) -> bool:
        return all(score in (0.0, 1.0) for score in self.scores)

    @property
    def interval(self) -> Interval:
        """95% bounds of the mean: Wilson's of a share of yes and no, else a bootstrap's."""
        if self.is_binary:
            return wilson(int(sum(self.scores)), len(self.scores))
        return paired_bootstrap(self.scores, [0.0] * len(self.scores))

    @property
    def is_as_known(self) -> bool:
        """Whether the mean is within four standard deviations of the share that it must be ("about")."""
        assert self.wanted
        expected, count = self.wanted.value, len(self.scores)
        width = math.sqrt(expected * (1 - expected) / count)
        return abs(self.mean - expected) < 4 * max(width, 1 / count)

    def p(self, other: Beside) -> float:
        """Of the paired test: McNemar's where all scores are yes or no, else that of flipped signs."""
        if self.is_binary and all(score in (0.0, 1.0) for score in other.scores):
            return mcnemar([s == 1 for s in self.scores], [s == 1 for s in other.scores])
        return sign_flip_test(self.scores, other.scores)

    def changed(self, other: Beside) -> tuple[int, int]:
        """How many questions it scores higher on, and how many lower."""
        pairs = list(zip(self.scores, other.scores, strict=True))
        return sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Line:
        read: dict[str, Callable[[Any], Any]] = {
            "scores": tuple,
            "wanted": lambda d: Wanted(**d),
            "against": lambda d: Beside(d["name"], tuple(d["scores"])),
            "equal": lambda d: Beside(d["name"], tuple(d["scores"])),
            "cost": lambda d: Cost(**d),
        }
        return cls(**{key: read[key](value) if key in read else value for key, value in data.items()})


def mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def shares(right: Iterable[bool]) -> tuple[float, ...]:
    """Yes and no as scores."""
    return tuple(map(float, right))


def pooled(lines: Sequence[Line]) -> Line:
    """Lines of the same name from several seeds as one, their questions one after the other."""
    first = lines[0]

    def joined(sides: Sequence[Beside | None]) -> Beside | None:
        there = [side for side in sides if side]
        names = dict.fromkeys(side.name for side in there)
        return Beside(", ".join(names), sum((side.scores for side in there), ())) if there else None

    def spent() -> Cost | None:
        counted = [(line.cost, len(line.scores)) for line in lines if line.cost]
        count = sum(n for _, n in counted)

        def per_question(what: Literal["calls", "tokens", "seconds"]) -> float:
            return sum(getattr(one, what) * n for one, n in counted) / count

        return Cost(per_question("calls"), per_question("tokens"), per_question("seconds")) if counted else None

    return Line(
        first.name,
        sum((line.scores for line in lines), ()),
        first.wanted,
        joined([line.against for line in lines]),
        joined([line.equal for line in lines]),
        spent(),
        first.unit,
    )


def verdict(line: Line, ps: Sequence[float]) -> str:
    """Yes or no, in the table's words; `ps` are the corrected p against what it is compared to and against equal tokens."""
    wanted = line.wanted
    if wanted is None:
        return ""
    if wanted.what == "about":
        return "yes" if line.is_as_known else "NO: not what must come"
    if wanted.what == "at least":
        return "yes" if line.mean >= wanted.value else "no"
    if wanted.what == "at most":
        return "yes" if line.mean <= wanted.value else "no"
    assert line.against
    if wanted.what == "times":
        return "yes" if line.mean >= wanted.value * mean(line.against.scores) and line.mean > 0 else "no"
    sides = [side for side in (line.against, line.equal) if side]
    sign = 1 if wanted.what == "more" else -1
    gains = [sign * (line.mean - mean(side.scores)) for side in sides]
    if all(gain > 0 and p < SURE for gain, p in zip(gains, ps, strict=True)):
        return "yes"
    if any(gain < 0 and p < SURE for gain, p in zip(gains, ps, strict=True)):
        return "no: it harms" if gains[0] < 0 and ps[0] < SURE else "no: worse than equal tokens"
    is_telling = line.unit != "%" or 0.2 <= mean(line.against.scores) <= 0.8
    return "no: no gain shown" + ("" if is_telling else ", and what it is compared to is not within 20 to 80%")

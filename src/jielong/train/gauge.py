"""The gauge of reinforcement: whether a policy has learned too much from its reward model, told without a gold reward.

A policy climbs the reward model. Along its natural gradient, whatever people really want changes by the covariance of both
over the policy's own answers: it rises as long as the reward model still orders fresh answers as people do, and falls when
it orders them the other way. So where somebody labels a few fresh pairs of each rollout, the rule stops as soon as the
reward model is no better on the last of them than a coin, and keeps the policy that wrote the first of these.

Without labels, or until there are enough, a budget is left. The reward model has seen pairs of the start's answers, and knows
nothing about answers that the start would hardly ever write. The rule then stops where the policy is as far from the start, or
scores as high, as the best of so many of its answers; or where the models of an ensemble begin to disagree.

A rule reads the log of training from its beginning to one rollout and nothing later. It never reads the gold reward, which is
in no reading's `signals`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jielong.config import at_least, at_most

GOLD = "score_gold"
"""The metric of a gold reward: a reward named gold whose weight is 0, so that it is logged and never trained on."""

SIGNALS = (
    "fresh_accuracy",
    "fresh_pairs",
    "kl_k3",
    "group_spread",
    "flat_groups",
    "entropy",
    "length",
    "missing_stop",
    "mismatch",
    "kl_coefficient",
)
"""Metrics of a rollout that stand beside its score and KL; those of an ensemble come to them by their beginnings."""
ENSEMBLE = "disagreement_"


@dataclass(frozen=True)
class Reading:
    """The metrics of one rollout: those of the policy after `step` optimizer steps."""

    step: int
    kl: float
    """To the reference, in nats for each answer."""
    learned: float
    """The reward that is trained on."""
    gold: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict)


Reason = Literal["", "accuracy", "distance", "height", "disagreement"]
BUDGET: tuple[Reason, ...] = ("distance", "height", "disagreement")
"""The measures that decide if there are no labels."""


@dataclass(frozen=True)
class Verdict:
    """A stop: the place of the reading that made the rule stop, and of the one to keep.

    Where nothing made it stop, `reason` is "" and both are the last reading.
    """

    at: int
    keep: int
    reason: Reason


@dataclass(frozen=True)
class StopRule:
    """When to stop learning from a reward model; the numbers were found on enumerable spaces, see docs/gauge.md."""

    accuracy: float = 0.5
    """The share of fresh labelled pairs that the reward model has to order as the labels do; below it training stops."""
    pairs: int = 200
    """Fresh pairs that the accuracy is taken over: those of the last rollouts that hold as many."""
    answers: float = 24.0
    """As far from the start, or as high in reward, as the best of this many answers of the start."""
    disagreement: float = 1.5
    """How often as large as at the start the spread of an ensemble's scores for a sample may become; 0 leaves it out."""
    window: int = 3
    """Rollouts that the other measures are taken over, the one in hand and those before it."""

    def __post_init__(self) -> None:
        at_least(self, 2, "answers")
        at_least(self, 0, "accuracy", "disagreement")
        at_most(self, 1, "accuracy")
        at_least(self, 1, "pairs", "window")

    def stop(self, readings: Sequence[Reading], *, is_labelled: bool = True) -> Verdict:
        """Return where to stop and which reading to keep: the first of the window of labels, or the one before the stop.

        It goes by labels as soon as there are `pairs` of them, unless `is_labelled` is false, and by the budget until then.
        """
        windows = label_windows(readings, self.pairs) if is_labelled else [None] * len(readings)
        found = measures(readings, self.window)
        for at, window in enumerate(windows):
            if window is not None:
                if window[1] < self.accuracy:
                    return Verdict(at, window[0], "accuracy")
                continue
            for reason in BUDGET:
                if at and found[reason] and found[reason][at] > self.limit(reason):
                    return Verdict(at, at - 1, reason)
        last = max(len(readings) - 1, 0)
        return Verdict(last, last, "")

    def value(self, readings: Sequence[Reading], verdict: Verdict) -> float:
        """Return the measure that made the rule stop, as it was then; NaN where nothing did."""
        if verdict.reason == "accuracy":
            window = label_windows(readings, self.pairs)[verdict.at]
            return math.nan if window is None else window[1]
        return measures(readings, self.window)[verdict.reason][verdict.at] if verdict.reason else math.nan

    def limit(self, reason: Reason) -> float:
        """Return the value of a measure at which the rule stops."""
        return {
            "accuracy": self.accuracy,
            "distance": best_of_n_kl(self.answers),
            "height": expected_maximum(self.answers),
            "disagreement": self.disagreement or math.inf,
        }.get(reason, math.inf)


def best_of_n_kl(answers: float) -> float:
    """Return log n - (n - 1) / n: the KL from the start to the best of n of its answers, nats (Stiennon et al. 2020)."""
    return math.log(answers) - (answers - 1) / answers


def expected_maximum(answers: float) -> float:
    """Return how far the best of n normal draws lies above their mean, in standard deviations (Blom 1958)."""
    return statistics.NormalDist().inv_cdf((answers - 0.375) / (answers + 0.25))


def label_windows(readings: Sequence[Reading], pairs: int) -> list[tuple[int, float] | None]:
    """Return for each reading where the window of its last `pairs` labelled pairs begins, and the reward model's accuracy
    on them; None where there are not yet as many.
    """
    counts = [r.signals.get("fresh_pairs", 0.0) for r in readings]
    right = [count * r.signals.get("fresh_accuracy", 0.0) for count, r in zip(counts, readings, strict=True)]
    found: list[tuple[int, float] | None] = []
    for at in range(len(readings)):
        start = at
        while start > 0 and sum(counts[start : at + 1]) < pairs:
            start -= 1
        total = sum(counts[start : at + 1])
        found.append((start, sum(right[start : at + 1]) / total) if total >= pairs else None)
    return found


def measures(readings: Sequence[Reading], window: int = 3) -> dict[str, list[float]]:
    """Return what the budget looks at, one number for each reading; empty where the log does not hold it.

    "distance": the KL, nats. "height": the gain in learned reward, in standard deviations of the start's answers to one
    prompt. "disagreement": the spread of the ensemble's scores for a sample, as a multiple of that at the start.
    """
    spread = _first(readings, "group_spread")
    learned = _trailing([r.learned for r in readings], window)
    disagreement = next((name for name in _names(readings) if name.startswith(ENSEMBLE)), "")
    apart = _first(readings, disagreement)
    return {
        "distance": _trailing([r.kl for r in readings], window),
        "height": [(value - learned[0]) / spread for value in learned] if spread > 0 else [],
        "disagreement": [
            value / apart for value in _trailing([r.signals.get(disagreement, apart) for r in readings], window)
        ]
        if apart > 0
        else [],
    }


def _names(readings: Sequence[Reading]) -> Iterable[str]:
    return readings[0].signals if readings else ()


def _first(readings: Sequence[Reading], name: str) -> float:
    """Return a signal of the first reading, 0 where it is not there."""
    return readings[0].signals.get(name, 0.0) if readings else 0.0


def _trailing(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and up to window - 1 before it: what was known at the time."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - window, 0)
    return [float(mean) for mean in (sums[ends] - sums[starts]) / (ends - starts)]


def readings_of(metrics: Iterable[Mapping[str, Any]]) -> list[Reading]:
    """Return a reading for each rollout in the lines of a metrics.jsonl; an empty list if the stage is not
    reinforcement learning.

    All steps of a rollout log the same measures of it, and "drawn_at" says after how many steps it was drawn; in logs
    without that, it is the step before the first line of the rollout.
    """
    found: dict[int, Reading] = {}
    last: tuple[float, float] | None = None
    for line in metrics:
        numbers = {name: float(value) for name, value in line.items() if _is_number(value)}
        if "score" not in numbers or "kl" not in numbers:
            continue
        score, kl = numbers["score"], numbers["kl"]
        if (score, kl) == last:
            continue
        last = (score, kl)
        step = int(numbers.get("drawn_at", numbers["step"] - 1))
        signals = {n: value for n, value in numbers.items() if n in SIGNALS or n.startswith(ENSEMBLE)}
        found[step] = Reading(step, kl, score, numbers.get(GOLD), signals)
    return [found[step] for step in sorted(found)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def kept_at(steps: Iterable[int], wanted: int) -> int | None:
    """Return the newest of the kept steps that is no later than the wanted one, or None if all are later."""
    return max((step for step in steps if step <= wanted), default=None)

"""How sure a difference is: paired comparisons of two systems on the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds that hold it with the stated confidence."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    new: Sequence[float], old: Sequence[float], *, draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of new - old over the same questions, with percentile bounds from resampled questions (Efron 1979)."""
    gains = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    index = np.random.default_rng(seed).integers(0, len(gains), size=(draws, len(gains)))
    means = gains[index].mean(axis=1)
    edge = (1 - confidence) / 2
    low, high = np.quantile(means, [edge, 1 - edge])
    return Interval(float(gains.mean()), float(low), float(high))


def win_rate(new: Sequence[float], old: Sequence[float]) -> float:
    """The share of questions on which `new` scores higher; equal scores count half."""
    a, b = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    return float(np.mean((a > b) + 0.5 * (a == b)))

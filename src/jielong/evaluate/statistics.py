"""Significance of shares and differences: systems on the same questions, compared pair by pair."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jielong.errors import DataError


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    new: Sequence[float], old: Sequence[float], *, draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean of new - old over the same questions, with percentile bounds from resampled questions (Efron
    1979).
    """
    gains = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    index = np.random.default_rng(seed).integers(0, len(gains), size=(draws, len(gains)))
    means = gains[index].mean(axis=1)
    edge = (1 - confidence) / 2
    low, high = np.quantile(means, [edge, 1 - edge])
    return Interval(float(gains.mean()), float(low), float(high))


def win_rate(new: Sequence[float], old: Sequence[float]) -> float:
    """Return the share of questions on which `new` scores higher; equal scores count half."""
    a, b = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    return float(np.mean((a > b) + 0.5 * (a == b)))


def wilson(successes: int, count: int, *, confidence: float = 0.95) -> Interval:
    """Return a share with Wilson's score interval, which stays within 0 and 1 and suits small counts (Wilson 1927)."""
    if not 0 <= successes <= count or count == 0:
        raise DataError(f"{successes} successes of {count}; expected 0 <= successes <= count, and a count above 0")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = successes / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def mcnemar(new: Sequence[bool], old: Sequence[bool]) -> float:
    """Return the exact two-sided p of the questions on which two systems differ (McNemar 1947, by the binomial
    distribution).
    """
    gained = sum(a and not b for a, b in zip(new, old, strict=True))
    lost = sum(b and not a for a, b in zip(new, old, strict=True))
    count = gained + lost
    # of integers without limit, so that no number of questions is too many
    tail = sum(math.comb(count, k) for k in range(min(gained, lost) + 1)) / 2**count
    return min(1.0, 2 * tail)


def sign_flip_test(new: Sequence[float], old: Sequence[float], *, draws: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p that the mean of new - old is 0, by flipping the signs of the differences (Fisher 1935)."""
    gains = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    dice, beyond = np.random.default_rng(seed), 0
    for size in _pieces(draws, max(1, 1_000_000 // max(1, len(gains)))):
        signs = dice.choice((-1.0, 1.0), size=(size, len(gains)))
        beyond += int((np.abs(signs @ gains) >= abs(gains.sum()) - 1e-9).sum())
    return (beyond + 1) / (draws + 1)


def _pieces(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979), in their order."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = highest
    return corrected


def calibration_error(likely: Sequence[float], came: Sequence[float], *, bins: int = 10) -> float:
    """Return the mean distance of stated probabilities from outcomes (0 or 1, or a share).

    The expected calibration error of Naeini et al. 2015: over bins of equal width, the absolute difference of mean
    probability and mean outcome, weighted by the bin's count.
    """
    said, seen = np.asarray(likely, dtype=np.float64), np.asarray(came, dtype=np.float64)
    if not len(said):
        raise DataError("there is no probability to look at; expected at least one")
    place = np.minimum((said * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, said - seen, minlength=bins)
    return float(np.abs(gaps).sum() / len(said))


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Return Pearson's correlation, or None for fewer than two pairs, or if either side is constant."""
    if len(xs) < 2 or len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    return statistics.correlation(xs, ys)


@dataclass(frozen=True)
class SystemScores:
    """A system's scores on some questions, in order, and its mean cost per question."""

    name: str
    scores: tuple[float, ...]
    tokens: float = 0.0
    calls: float = 0.0

    @property
    def is_binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return all(score in (0.0, 1.0) for score in self.scores)


@dataclass(frozen=True)
class Comparison:
    """The advantage of `new` over `old` on the same questions; `corrected` is p after Holm over all pairs compared."""

    new: SystemScores
    old: SystemScores
    difference: Interval
    p: float
    corrected: float


def compare(systems: Sequence[SystemScores], *, seed: int = 0) -> list[Comparison]:
    """Compare every later system with every earlier one.

    p is McNemar's if all scores are 0 or 1, else that of flipped signs. Raises DataError if the questions differ in
    number.
    """
    counts = {s.name: len(s.scores) for s in systems}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise DataError(f"systems are compared on the same questions, and these have {counts}")
    pairs = [(new, old) for old, new in itertools.combinations(systems, 2)]
    ps = [_p_of_difference(new, old, seed) for new, old in pairs]
    return [
        Comparison(new, old, paired_bootstrap(new.scores, old.scores, seed=seed), p, corrected)
        for (new, old), p, corrected in zip(pairs, ps, holm(ps), strict=True)
    ]


def _p_of_difference(new: SystemScores, old: SystemScores, seed: int) -> float:
    """Return the p of the difference of two systems: McNemar's if all scores are 0 or 1, else by flipped signs."""
    if new.is_binary and old.is_binary:
        return mcnemar([s == 1 for s in new.scores], [s == 1 for s in old.scores])
    return sign_flip_test(new.scores, old.scores, seed=seed)

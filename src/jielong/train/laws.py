"""Laws of learning from a reward model: how a reward grows with the distance from the start, fitted with intervals.

With d the square root of KL(policy, start), Gao et al. 2023 (arXiv 2210.10760) found R(d) = d (alpha - beta d) for the
best of n answers and R(d) = d (alpha - beta log d) for reinforcement. Both rise, and where beta is above 0 turn over. Both
are linear in their numbers, so least squares finds them at once; intervals come from a bootstrap of whole blocks of
residuals, as neighbouring rollouts are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["best_of_n", "rl"]
FORMS: tuple[Form, ...] = ("best_of_n", "rl")
FEWEST = 6
"""Points below which nothing is fitted: three numbers would run through them."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A fitted number and the bounds of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Law:
    """A reward as a function of d: start + d (alpha - beta d), or start + d (alpha - beta log d).

    `peak_kl` is where the fitted curve is highest, in nats: infinite where it rises for ever, 0 where it only falls.
    `error` is the root mean square distance of the points.
    """

    form: Form
    start: Estimate
    alpha: Estimate
    beta: Estimate
    peak_kl: Estimate
    error: float

    def at(self, kl: float) -> float:
        """Return the fitted reward at this KL."""
        row = _columns(np.array([math.sqrt(max(kl, 0.0))]), self.form)[0]
        return float(row @ np.array([self.start.value, self.alpha.value, self.beta.value]))


def fit(kl: Sequence[float], rewards: Sequence[float], form: Form, *, draws: int = 1000, seed: int = 0) -> Law | None:
    """Fit a law to rewards at KLs in nats, given in the order of training; None below `FEWEST` points, or where all stand
    at the same KL.
    """
    d = np.sqrt(np.maximum(np.asarray(kl, dtype=np.float64), 0.0))
    values = np.asarray(rewards, dtype=np.float64)
    columns = _columns(d, form)
    if len(d) < FEWEST or np.linalg.matrix_rank(columns) < columns.shape[1]:
        return None
    solve = np.linalg.pinv(columns)
    found = solve @ values
    residuals = values - columns @ found
    drawn = (columns @ found)[None, :] + _in_blocks(residuals, draws, seed)
    resampled = drawn @ solve.T
    start, alpha, beta = (_estimate(value, sample) for value, sample in zip(found.tolist(), resampled.T, strict=True))
    peaks = np.array([_peak(a, b, form) for _, a, b in resampled.tolist()])
    peak = _estimate(_peak(alpha.value, beta.value, form), peaks)
    # three numbers were taken from the points
    error = math.sqrt(float(residuals @ residuals) / max(len(d) - 3, 1))
    return Law(form, start, alpha, beta, peak, error)


def _columns(d: Array, form: Form) -> Array:
    """Return the columns that start, alpha and beta multiply."""
    # d log d goes to 0 with d
    bent = d * d if form == "best_of_n" else np.where(d > 0, d * np.log(np.where(d > 0, d, 1.0)), 0.0)
    return np.stack([np.ones_like(d), d, -bent], axis=1)


def _peak(alpha: float, beta: float, form: Form) -> float:
    """Return the KL at which the fitted score curve is highest, from the zero of its derivative; infinity if it never
    falls.
    """
    if form == "best_of_n":
        # alpha - 2 beta d = 0
        if beta <= 0:
            return math.inf if alpha > 0 or beta < 0 else 0.0
        return max(0.0, alpha / (2 * beta)) ** 2
    # alpha - beta log d - beta = 0; below 0 beta makes a valley of it, after which it rises for ever
    if beta <= 0:
        return math.inf if alpha > 0 or beta < 0 else 0.0
    exponent = 2 * (alpha / beta - 1)
    return math.exp(exponent) if exponent < 700 else math.inf


def _in_blocks(residuals: Array, draws: int, seed: int) -> Array:
    """Draw residuals anew (draws, points), in blocks of neighbours that go round the end."""
    count = len(residuals)
    length = max(1, round(count ** (1 / 3)))
    random = np.random.default_rng(seed)
    starts = random.integers(count, size=(draws, math.ceil(count / length)))
    places = (starts[:, :, None] + np.arange(length)) % count
    # without this the intervals would be too narrow by the three numbers that were fitted
    widened = residuals * math.sqrt(count / max(count - 3, 1))
    drawn: Array = widened[places.reshape(draws, -1)[:, :count]]
    return drawn


def _estimate(value: float, sample: Array) -> Estimate:
    # at an infinite value numpy would interpolate between infinities, so the nearest drawn ones are taken
    low, high = np.quantile(sample, [0.025, 0.975], method="nearest").tolist()
    return Estimate(value, low, high)

"""Bradley-Terry strengths of models from comparisons of their answers (1952), with intervals.

Model a beats model b with probability sigmoid(strength_a - strength_b), and a tie is half a win for each. Only
differences are identified, so strengths are relative to one model with strength 0. Intervals come from the profile
likelihood, not from a bootstrap. With twenty pairs a model is often unbeaten; its strength is then infinite in every
resample, and only the profile bounds it from below. Comparisons count as independent, so remove a voter's repeated ones
first (`evaluate.feedback`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jielong.errors import DataError
from jielong.evaluate.statistics import Interval

# M models. wins (M, M) float64: how often the model of the row beat that of the column, ties half.

Floats = NDArray[np.float64]

CRITICAL = 3.841458820694124
"""The 95% quantile of chi-squared with one degree of freedom."""

_RIDGE = 1e-8
"""Keeps the strength of an unbeaten model finite while its likelihood is looked at; it moves others by less than 1e-6."""

_FARTHEST, _EXACT = 60.0, 1e-5
"""How far bounds are looked for, and how exactly, in units of strength."""


@dataclass(frozen=True)
class Duel:
    """A comparison of answers of two models: 1 for the first's win, 0.5 for a tie, 0 for its loss, and its weight."""

    first: str
    second: str
    won: float
    weight: float = 1.0


@dataclass(frozen=True)
class ModelStrength:
    """A model, its number of comparisons, the share of them that it won, and its strength.

    A bound is infinite if the comparisons set none. The strength is infinite if a chain of wins leads from the model to
    the reference and none back (minus infinity for the reverse), and NaN if no chain leads either way.
    """

    name: str
    comparisons: float
    won: float
    strength: Interval


@dataclass(frozen=True)
class ModelStrengths:
    """The strengths of some models, the strongest first; the model `reference` has strength 0."""

    reference: str
    models: tuple[ModelStrength, ...]


def groups_of(duels: Sequence[Duel]) -> list[list[Duel]]:
    """Group the comparisons by models that were compared with each other, directly or through others."""
    group: dict[str, set[str]] = {}
    for duel in duels:
        together = group.get(duel.first, {duel.first}) | group.get(duel.second, {duel.second})
        for name in together:
            group[name] = together
    found: dict[str, list[Duel]] = {}
    for duel in duels:
        found.setdefault(min(group[duel.first]), []).append(duel)
    return list(found.values())


def fit_strengths(duels: Sequence[Duel]) -> ModelStrengths:
    """Fit strengths by maximum likelihood, with 95% intervals.

    Raises DataError if there are no comparisons, or if models fall into groups that were never compared with each other
    (`groups_of` finds them): strengths across groups are not identified.
    """
    duels = [d for d in duels if d.first != d.second and d.weight > 0]
    if not duels:
        raise DataError("no two models were compared; expected comparisons of answers of different models")
    groups = groups_of(duels)
    if len(groups) > 1:
        some, others = (sorted({name for d in group for name in (d.first, d.second)}) for group in groups[:2])
        raise DataError(
            f"{_names(some)} and {_names(others)} were never compared, not even through others; "
            "compare one of each, or tally each group alone"
        )
    names = sorted({name for d in duels for name in (d.first, d.second)})
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for d in duels:
        first, second = place[d.first], place[d.second]
        wins[first, second] += d.weight * d.won
        wins[second, first] += d.weight * (1 - d.won)
    counts, reaches = (wins + wins.T).sum(axis=1), _reaches(wins)
    reference = _reference(counts, reaches)
    intervals = _intervals(wins, reference, reaches)
    found = [
        ModelStrength(name, float(counts[at]), float(wins[at].sum() / counts[at]), intervals[at])
        for name, at in place.items()
    ]
    found.sort(key=lambda s: (-_sortable(s.strength.mean), -s.won, s.name))
    return ModelStrengths(names[reference], tuple(found))


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _sortable(strength: float) -> float:
    return 0.0 if math.isnan(strength) else strength


def _reaches(wins: Floats) -> NDArray[np.bool_]:
    """Return a matrix (M, M): whether a chain of wins leads from the row's model to the column's.

    The maximum likelihood is at a finite difference exactly if chains lead both ways (Ford 1957).
    """
    reaches = (wins > 0) | np.eye(len(wins), dtype=np.bool_)
    for through in range(len(wins)):
        reaches |= reaches[:, through, None] & reaches[None, through]
    return reaches


def _reference(counts: Floats, reaches: NDArray[np.bool_]) -> int:
    """Choose as reference the most compared of the models whose differences to most others are finite."""
    finite = (reaches & reaches.T).sum(axis=1)
    return max(range(len(counts)), key=lambda at: (finite[at], counts[at], -at))


def _intervals(wins: Floats, reference: int, reaches: NDArray[np.bool_]) -> list[Interval]:
    """Return each model's strength and its bounds by profile likelihood, relative to the reference."""
    best, highest = _fit(wins, {reference: 0.0})
    found = []
    for at in range(len(wins)):
        if at == reference:
            found.append(Interval(0.0, 0.0, 0.0))
            continue
        is_above, is_below = bool(reaches[at, reference]), bool(reaches[reference, at])
        low = _bound(wins, reference, at, best, highest, -1.0) if is_above else -math.inf
        high = _bound(wins, reference, at, best, highest, 1.0) if is_below else math.inf
        value = float(best[at]) if is_above and is_below else math.nan
        if is_above != is_below:
            value = math.inf if is_above else -math.inf
        found.append(Interval(value, low, high))
    return found


def _bound(wins: Floats, reference: int, at: int, best: Floats, highest: float, side: float) -> float:
    """Find where the profile likelihood of a difference falls to the edge of its 95% interval, on one side."""

    def is_inside(distance: float) -> bool:
        _, likelihood = _fit(wins, {reference: 0.0, at: best[at] + side * distance}, best)
        return 2 * (highest - likelihood) <= CRITICAL

    near, far = 0.0, 0.5
    while is_inside(far):
        near, far = far, 2 * far
        if far > _FARTHEST:
            return side * math.inf
    while far - near > _EXACT:
        middle = (near + far) / 2
        near, far = (middle, far) if is_inside(middle) else (near, middle)
    return float(best[at] + side * near)


def _fit(wins: Floats, fixed: dict[int, float], start: Floats | None = None) -> tuple[Floats, float]:
    """Fit strengths (M,) with some of them fixed, and their log-likelihood: Newton's steps, halved if they lead
    downhill.
    """
    strengths = np.zeros(len(wins)) if start is None else start.copy()
    for at, value in fixed.items():
        strengths[at] = value
    free = np.array([at for at in range(len(wins)) if at not in fixed], dtype=np.int64)
    value = _likelihood(wins, strengths)
    for _ in range(200 if len(free) else 0):
        lost = 1 / (1 + np.exp(strengths[:, None] - strengths))  # (M, M): how likely the row loses to the column
        gradient = (wins * lost - wins.T * lost.T).sum(axis=1) - _RIDGE * strengths
        bend = (wins + wins.T) * lost * lost.T
        curve = np.diag(bend.sum(axis=1) + _RIDGE) - bend
        step = np.linalg.solve(curve[np.ix_(free, free)], gradient[free])
        step *= min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
        size = 1.0
        while size > 1e-6:
            tried = strengths.copy()
            tried[free] += size * step
            if (reached := _likelihood(wins, tried)) >= value:
                break
            size /= 2
        else:
            break
        strengths, value = tried, reached
        if float(np.abs(step).max()) < 1e-9:
            break
    return strengths, value


def _likelihood(wins: Floats, strengths: Floats) -> float:
    margins = strengths[:, None] - strengths
    return float(-(wins * np.logaddexp(0.0, -margins)).sum() - _RIDGE / 2 * (strengths**2).sum())

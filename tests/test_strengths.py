"""Strengths of models out of comparisons: scores recovered, intervals that hold, and what cannot be told is not told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jielong.errors import DataError
from jielong.evaluate.strengths import Duel, fit_strengths, groups_of


def drawn(strengths: dict[str, float], count: int, seed: int) -> list[Duel]:
    """Comparisons of random pairs of models, won as their strengths say."""
    dice, names = np.random.default_rng(seed), list(strengths)
    found = []
    for _ in range(count):
        a, b = dice.choice(len(names), 2, replace=False)
        likely = 1 / (1 + math.exp(strengths[names[b]] - strengths[names[a]]))
        found.append(Duel(names[a], names[b], float(dice.random() < likely)))
    return found


def test_true_strengths_are_recovered():
    true = {"a": 0.0, "b": 0.7, "c": -1.1, "d": 1.6}
    found = fit_strengths(drawn(true, 20_000, 0))
    assert [s.name for s in found.models] == ["d", "b", "a", "c"]
    for s in found.models:
        assert s.strength.mean == pytest.approx(true[s.name] - true[found.reference], abs=0.1)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    # 200 small contests: of so many, 95% intervals miss 10, give or take 3 standard deviations of 3.1
    true = {"a": 0.0, "b": 0.8, "c": -0.5}
    misses = total = 0
    for seed in range(100):
        found = fit_strengths(drawn(true, 60, seed))
        for s in found.models:
            if s.name != found.reference:
                total += 1
                misses += not s.strength.low <= true[s.name] - true[found.reference] <= s.strength.high
    assert total == 200 and 1 <= misses <= 20


def test_two_models_have_the_log_odds_of_their_wins_and_the_bounds_of_the_binomial_likelihood():
    # b wins 6 of 8 and ties twice: 7 to 3 of 10, so log(7 / 3); bounds where 2 (l_max - l) = 3.8415
    duels = [Duel("a", "b", won) for won in (0, 0, 0, 0, 0, 0, 1, 1, 0.5, 0.5)]
    found = {s.name: s for s in fit_strengths(duels).models}
    assert found["b"].strength.mean == pytest.approx(math.log(7 / 3), abs=1e-4)
    assert (found["b"].won, found["b"].comparisons) == (0.7, 10)

    def loss(x: float) -> float:
        return 7 * math.log1p(math.exp(-x)) + 3 * math.log1p(math.exp(x))

    for bound in (found["b"].strength.low, found["b"].strength.high):
        assert 2 * (loss(bound) - loss(math.log(7 / 3))) == pytest.approx(3.841459, abs=1e-3)


def test_ties_as_half_wins_are_the_same_as_a_win_on_each_side_of_half_the_weight():
    ties = [Duel("a", "b", 0.5), Duel("a", "b", 1), Duel("b", "c", 0.5), Duel("c", "b", 1), Duel("a", "c", 1)]
    halves = [Duel(d.first, d.second, won, 0.5) for d in ties for won in (math.ceil(d.won), math.floor(d.won))]
    assert fit_strengths(ties).models == fit_strengths(halves).models


def test_an_unbeaten_model_has_a_lower_bound_and_no_upper_one():
    # 10 of 10: no bound above; below, 2 * 10 log(1 + e^-x) = 3.8415, so x = -log(e^0.192073 - 1) = 1.5527
    found = {s.name: s.strength for s in fit_strengths([Duel("a", "b", 0.0)] * 10).models}
    assert found["b"].mean == found["b"].high == math.inf
    assert found["b"].low == pytest.approx(1.5527, abs=1e-3)


def test_of_models_that_both_only_lost_to_a_third_nothing_is_told_of_their_difference():
    duels = [Duel("c", "a", 1)] * 3 + [Duel("c", "b", 1)] * 3
    found = {s.name: s.strength for s in fit_strengths(duels).models}
    assert found["a"].mean == found["b"].mean == -math.inf
    assert found["a"].low == -math.inf and math.isfinite(found["a"].high)
    even = [Duel("a", "d", 1), Duel("d", "a", 1)] * 3
    told = fit_strengths([Duel("a", "c", 1), Duel("b", "c", 1), *even])
    (unknown,) = [s.strength for s in told.models if s.name == "b"]
    assert told.reference == "a" and math.isnan(unknown.mean) and (unknown.low, unknown.high) == (-math.inf, math.inf)


def test_models_that_were_never_compared_are_told_group_by_group():
    duels = [Duel("a", "b", 1), Duel("c", "d", 0.5), Duel("b", "a", 1), Duel("d", "c", 1)]
    with pytest.raises(DataError, match="a, b and c, d were never compared, not even through others"):
        fit_strengths(duels)
    assert [{d.first for d in group} for group in groups_of(duels)] == [{"a", "b"}, {"c", "d"}]
    assert [fit_strengths(group).models[0].name for group in groups_of(duels)] == ["a", "d"]
    assert len(groups_of([*duels, Duel("a", "d", 1)])) == 1


def test_without_two_models_there_is_nothing_to_tell():
    with pytest.raises(DataError, match="no two models were compared"):
        fit_strengths([Duel("a", "a", 1)])

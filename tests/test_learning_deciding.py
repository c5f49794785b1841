"""The sequential test: its closed form, its error over repeated presses, and its power."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from jielong.learning.deciding import BUDGET, LEAST, MOST, Tally, alpha_of, evidence, verdict


def outcome(dice: random.Random, p: float, press: int = 1, ties: float = 0.0) -> tuple[str, int]:
    """The verdict about a candidate that wins a decided vote with p, and after how many votes."""
    tally = Tally()
    while not (told := verdict(tally, alpha_of(press))):
        if dice.random() < ties:
            tally = Tally(tally.won, tally.lost, tally.tied + 1)
        elif dice.random() < p:
            tally = Tally(tally.won + 1, tally.lost, tally.tied)
        else:
            tally = Tally(tally.won, tally.lost + 1, tally.tied)
    return told, tally.num_asked


def test_the_evidence_is_the_mean_likelihood_ratio():
    ps = (np.arange(200_000) + 0.5) / 400_000 + 0.5
    for won, lost in ((0, 0), (5, 2), (30, 11), (3, 20)):
        assert evidence(won, lost) == pytest.approx(np.mean((2 * ps) ** won * (2 - 2 * ps) ** lost), rel=1e-6)


def test_the_evidence_of_a_fair_coin_stays_the_same_on_average():
    # E[e after a vote] = (e(w + 1, l) + e(w, l + 1)) / 2 under p = 1/2
    for won, lost in ((0, 0), (4, 9), (40, 20)):
        mean = (evidence(won + 1, lost) + evidence(won, lost + 1)) / 2
        assert mean == pytest.approx(evidence(won, lost), rel=1e-12)


def test_the_shares_of_all_presses_add_up_to_the_budget():
    assert sum(alpha_of(k) for k in range(1, 100_000)) == pytest.approx(BUDGET, rel=1e-4)
    assert alpha_of(1) == pytest.approx(0.0304, abs=1e-4)


def test_nothing_is_decided_before_twenty_votes_and_everything_after_a_hundred():
    assert verdict(Tally(LEAST - 1, 0), alpha_of(1)) == "" and verdict(Tally(LEAST, 0), alpha_of(1)) == "promoted"
    assert verdict(Tally(55, 45), alpha_of(1)) == "refused" and verdict(Tally(0, 0, MOST), alpha_of(1)) == "refused"


def test_ties_carry_no_weight_but_count_as_votes():
    assert verdict(Tally(12, 0, 8), alpha_of(1)) == "promoted" and verdict(Tally(12, 0, 7), alpha_of(1)) == ""


def test_asking_ends_early_where_there_is_no_hope():
    assert verdict(Tally(0, 40), alpha_of(1)) == "refused" and verdict(Tally(14, 16), alpha_of(1)) == ""


def test_fewer_pairs_than_votes_are_needed_never_promote():
    assert verdict(Tally(12, 0), alpha_of(1), num_pairs=12) == "refused"


def test_random_voters_are_promoted_within_the_budget_by_one_press():
    dice = random.Random(0)
    promoted = sum(outcome(dice, 0.5)[0] == "promoted" for _ in range(4000))
    assert promoted / 4000 <= alpha_of(1) + 3 * math.sqrt(alpha_of(1) / 4000)


def test_random_voters_who_press_ten_times_are_promoted_within_the_budget():
    dice = random.Random(1)
    stubborn = sum(any(outcome(dice, 0.5, press)[0] == "promoted" for press in range(1, 11)) for _ in range(1000))
    assert stubborn / 1000 <= BUDGET + 3 * math.sqrt(BUDGET / 1000)


def test_a_voter_who_gives_up_whenever_he_is_behind_gains_nothing():
    """He cancels as soon as he has lost more than he has won, and presses again: each press has its own share."""
    dice, promoted = random.Random(2), 0
    for _ in range(1000):
        for press in range(1, 11):
            tally = Tally()
            while (told := verdict(tally, alpha_of(press))) == "" and tally.lost <= tally.won:
                is_won = dice.random() < 0.5
                tally = Tally(tally.won + is_won, tally.lost + (not is_won))
            if told == "promoted":
                promoted += 1
                break
    assert promoted / 1000 <= BUDGET + 3 * math.sqrt(BUDGET / 1000)


def test_a_candidate_that_wins_three_of_four_is_nearly_always_found():
    dice = random.Random(3)
    power = {p: sum(outcome(dice, p)[0] == "promoted" for _ in range(400)) / 400 for p in (0.75, 0.9)}
    assert power[0.75] >= 0.9 and power[0.9] >= 0.99

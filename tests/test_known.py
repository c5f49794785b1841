"""Where the model's error is known, strategies give what a pencil says they must."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from bench.strategies.known import CLAIMS, vote_wins
from bench.strategies.line import Line


def test_nine_votes_of_a_model_right_in_6_of_10_are_right_in_73_of_100() -> None:
    # the binomial tail from 5 of 9: sum of C(9, k) .6^k .4^(9-k)
    assert vote_wins(0.6, 9, 1) == pytest.approx(0.7334, abs=5e-5)
    assert vote_wins(0.5, 9, 1) == pytest.approx(0.5)
    assert vote_wins(0.6, 1, 7) == pytest.approx(0.6)


@pytest.mark.parametrize(("p", "n", "num_wrong"), [(0.6, 4, 2), (0.3, 5, 3), (0.5, 2, 1)])
def test_the_formula_of_votes_equals_counting_every_order(p: float, n: int, num_wrong: int) -> None:
    total = 0.0
    for order in itertools.product(range(num_wrong + 1), repeat=n):  # 0 is the right answer
        counts = Counter(order)
        winner = next(answer for answer in order if counts[answer] == max(counts.values()))
        odds = p ** counts[0] * ((1 - p) / num_wrong) ** (n - counts[0])
        total += odds * (winner == 0)
    assert vote_wins(p, n, num_wrong) == pytest.approx(total)


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda claims: claims.__name__)
def test_what_is_measured_is_what_must_come(claims: Callable[[int], Iterator[Line]]) -> None:
    for claim in claims(500):
        assert claim.is_as_known, (claim.name, claim.mean)

"""How sure a share or a difference is, against figures worked out by hand."""

from __future__ import annotations

import pytest

from jielong.errors import DataError
from jielong.evaluate.statistics import (
    Interval,
    SystemScores,
    compare,
    correlation,
    holm,
    mcnemar,
    paired_bootstrap,
    sign_flip_test,
    wilson,
    win_rate,
)


def test_mcnemar_looks_at_the_questions_that_differ_alone() -> None:
    same = [True, False] * 20
    # 1 lost and 6 gained: 2 (1 + 7) / 2^7
    assert mcnemar([True] * 6 + [False] + same, [False] * 6 + [True] + same) == pytest.approx(2 * 8 / 128)
    assert mcnemar(same, same) == 1.0
    assert mcnemar([True, False], [False, True]) == 1.0


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_wilson_interval_of_a_known_case_and_at_its_ends() -> None:
    # z = 1.96, 8 of 10: middle (.8 + .19207) / 1.38415 = .7167, half .2267
    found = wilson(8, 10)
    assert (found.mean, found.low, found.high) == (
        0.8,
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert wilson(0, 5).low == 0.0 and 0.4 < wilson(0, 5).high < 0.5
    assert wilson(5, 5).high == 1.0
    assert wilson(0, 2).low == 0.0  # from which a rounding would take 6e-17
    with pytest.raises(DataError, match="6 successes of 5"):
        wilson(6, 5)


def test_flipped_signs_find_what_the_binomial_says() -> None:
    # no draw of 10,000 is as far out as sixty equal signs, so it is one of 10,001
    assert sign_flip_test([1.0] * 60, [0.0] * 60) == 1 / 10_001
    assert sign_flip_test([1.0] * 60, [0.0] * 60, draws=99) == 0.01
    # all eight differences are 1: only the two cases of equal signs are as far out, 2 / 256
    assert sign_flip_test([1.0] * 8, [0.0] * 8) == pytest.approx(2 / 256, abs=0.003)
    assert sign_flip_test([0.5, 0.2], [0.5, 0.2]) == 1.0


def test_pairs_of_systems_are_compared_with_a_correction_for_their_number() -> None:
    one = SystemScores("one", (0.0,) * 8 + (1.0,) * 4, tokens=10, calls=1)
    two = SystemScores("two", (1.0,) * 8 + (1.0,) * 4, tokens=50, calls=5)
    same = SystemScores("same", one.scores)
    assert (same.tokens, same.calls, same.is_binary, SystemScores("none", (0.5,)).is_binary) == (0.0, 0.0, True, False)
    found = {(c.new.name, c.old.name): c for c in compare([one, two, same])}
    best = found["two", "one"]
    assert best.p == 2 / 2**8 and best.corrected == pytest.approx(3 * best.p)
    assert best.difference.mean == pytest.approx(8 / 12) and best.difference.excludes_zero
    assert found["same", "one"].p == 1.0 and found["same", "one"].difference.high == 0.0
    assert found["same", "two"].difference.mean == pytest.approx(-8 / 12)
    with pytest.raises(DataError, match="same questions"):
        compare([one, SystemScores("short", (1.0,))])


def test_wins_and_halves() -> None:
    # two won, one lost, one of equals: (2 + 0.5) / 4
    assert win_rate([1.0, 3.0, 0.0, 2.0], [0.0, 2.0, 1.0, 2.0]) == 0.625


def test_the_bounds_of_two_questions_by_hand() -> None:
    # gains 0 and 1: of two drawn the mean is 0, 1/2 or 1 with 1/4, 1/2 and 1/4, so a fifth of the draws on either side
    # lies at the ends, and three tenths do not
    assert paired_bootstrap([1.0, 3.0], [1.0, 2.0], confidence=0.6) == Interval(0.5, 0.0, 1.0)
    assert paired_bootstrap([1.0, 3.0], [1.0, 2.0], confidence=0.4) == Interval(0.5, 0.5, 0.5)
    assert paired_bootstrap([2.0], [5.0]) == Interval(-3.0, -3.0, -3.0)
    # a hundred tosses: 0.5 and 1.96 * 0.05 on either side, of which 2000 draws miss a hundredth
    found = paired_bootstrap([0.0, 1.0] * 50, [0.0] * 100)
    assert (found.mean, found.low, found.high) == (0.5, pytest.approx(0.402, abs=0.02), pytest.approx(0.598, abs=0.02))
    with_99 = paired_bootstrap([0.0, 1.0] * 50, [0.0] * 100, confidence=0.99)
    assert with_99.low == pytest.approx(0.371, abs=0.02) and with_99.low < found.low
    rough, draws = [0.1 * i * i for i in range(9)], {"draws": 2000, "seed": 0}
    assert paired_bootstrap(rough, [0.0] * 9) == paired_bootstrap(rough, [0.0] * 9, **draws)  # type: ignore[arg-type]
    assert paired_bootstrap([0.0, 1.0], [0.0, 0.0], draws=1).low in (0.0, 0.5, 1.0)
    bounds = [(0.1, 0.3), (-0.3, -0.1), (-0.1, 0.1), (0.0, 0.1), (-0.1, 0.0)]
    assert [Interval(0.0, *both).excludes_zero for both in bounds] == [True, True, False, False, False]


def test_correlation_by_hand() -> None:
    # deviations (-1, 0, 1) and (-1, 1, 0): 1 / sqrt(2 * 2)
    assert correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == pytest.approx(0.5)
    assert correlation([1.0, 2.0], [4.0, 3.0]) == pytest.approx(-1.0)
    for nothing in (([], []), ([1.0], [2.0]), ([1.0, 1.0], [2.0, 3.0]), ([1.0, 2.0], [3.0, 3.0])):
        assert correlation(*nothing) is None

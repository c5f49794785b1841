"""A step has one gradient: for every objective, in 1, 2 or 8 micro-batches, packed or padded, on one rank or two."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.invariance import STEPS, Cut, apart, cuts_of, gradient, two_ranks, without_division


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_one_gradient_however_it_is_cut_and_packed(name: str) -> None:
    whole = gradient(name)
    assert float(whole.norm()) > 0
    for told, cut in cuts_of(name).items():
        assert apart(gradient(name, cut), whole) <= 1e-5, told


@pytest.mark.ranks
def test_two_ranks_have_the_gradient_of_one(tmp_path: Path) -> None:
    for name, found in two_ranks(str(tmp_path)).items():
        assert apart(found, gradient(name)) <= 1e-5, name


@pytest.mark.parametrize("name", ["sft", "ppo", "dapo"])
def test_a_mean_over_micro_batches_would_be_noticed(name: str) -> None:
    assert apart(without_division(name, Cut(8)), gradient(name)) > 0.01

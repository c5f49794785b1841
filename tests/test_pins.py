"""The code gives what it gave when `tests/pins.json` was written: same fingerprints, options, keys on disk and steps."""

from __future__ import annotations

import math
from functools import cache

import pytest
from tests import pins

from jielong.runs import read_json

PINS = read_json(pins.FILE)

ROUNDING = 1e-6
"""Relative; on the processor of the pins the numbers are equal, but for a library of another build."""

OTHER_ROUNDING, OTHER_STEPS = 2e-3, 10
"""What another processor's sums may come to in so many steps."""


@cache
def made() -> tuple[dict[str, list[list[float]]], dict[str, list[str]]]:
    return pins.steps()


def test_every_stage_of_every_recipe_keeps_its_fingerprint():
    assert pins.fingerprints() == PINS["fingerprints"]
    assert pins.fingerprints(with_places=True) == PINS["fingerprints with places"]


def test_every_strategy_keeps_its_options():
    assert pins.options() == PINS["options"]


def test_every_file_of_a_run_keeps_its_keys():
    _, keys = made()
    lost = {file: sorted(set(PINS["keys"][file]) - set(keys.get(file, ()))) for file in PINS["keys"]}
    assert not {file: names for file, names in lost.items() if names}


@pytest.mark.parametrize("kind", pins.KINDS)
def test_fifty_steps_have_their_losses_and_gradient_norms(kind):
    numbers, pinned = made()[0][kind], PINS["steps"][kind]
    assert len(numbers) == len(pinned) == pins.STEPS
    assert all(math.isfinite(value) for step in numbers for value in step)
    if pins.processor() == PINS["processor"]:
        assert numbers == [pytest.approx(step, rel=ROUNDING) for step in pinned]
    elif kind in pins.FROM_RANDOM:
        assert numbers[:OTHER_STEPS] == [pytest.approx(step, rel=OTHER_ROUNDING) for step in pinned[:OTHER_STEPS]]

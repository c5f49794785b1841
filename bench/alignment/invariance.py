"""Whether a step has one gradient: for every objective, however it is cut, packed and shared by ranks."""

from __future__ import annotations

from collections.abc import Iterator

from tests.invariance import STEPS, Cut, apart, cuts_of, gradient, two_ranks, without_division

from bench.alignment.setting import Setting
from bench.rows import Row

SEEDS = 1
BOUND = 1e-5
MEANS = ("sft", "ppo", "dapo")
"""Objectives for which the control, a mean over micro-batches, is shown."""


def rows(setting: Setting) -> Iterator[Row]:
    """The largest distance to the gradient of the whole step, as a share of it."""
    wholes = {name: gradient(name) for name in STEPS}
    shared = two_ranks(str(setting.folder))
    for name, whole in wholes.items():
        found = {told: apart(gradient(name, cut), whole) for told, cut in cuts_of(name).items()}
        for told, distance in {**found, "on 2 ranks": apart(shared[name], whole)}.items():
            yield Row(f"{name}, {told}: distance of the gradient", f"at most {BOUND:g}", distance, distance <= BOUND)
    for name in MEANS:
        distance = apart(without_division(name, Cut(8)), wholes[name])
        yield Row(f"{name}, the mean over 8 micro-batches (control)", "above 0.01", distance, distance > 0.01)

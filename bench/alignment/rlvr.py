"""Whether a rule's reward teaches sums of two terms below 100, from random weights, and a coin's reward does not."""

from __future__ import annotations

from collections.abc import Iterator

from bench.alignment.setting import Setting
from bench.rows import Row
from bench.verified import Found, run_addition, with_coin

SEEDS = 3

MOST = 16
"""Samples of a problem in the exam, `SolvingStage.samples`."""


def rows(setting: Setting) -> Iterator[Row]:
    """Run each seed, and compare what instruction tuning, the rule and the coin have come to."""
    found = [run_addition(setting.folder, seed, changed=with_coin) for seed in setting.seeds]
    for seed, one in zip(setting.seeds, found, strict=True):
        yield from _rows_of(seed, one)
    trained = [one.shares["rl"]["likeliest"] for one in found]
    yield Row(
        "lowest of all seeds after the rule", "at least 0.85", min(trained), min(trained) >= 0.85, seeds=setting.seeds
    )
    pairs = [(one.shares["rl"]["likeliest"], one.shares["sft"][f"pass@{MOST}"]) for one in found]
    num_beyond = sum(after > before for after, before in pairs)
    yield Row(
        f"seeds in which one answer after is right more often than any of {MOST} before",
        "told",
        num_beyond,
        True,
        seeds=setting.seeds,
    )


def _rows_of(seed: int, found: Found) -> Iterator[Row]:
    """The rows of one seed."""
    start, end, coin = (found.shares[name] for name in ("sft", "rl", "coin"))
    begins = start["likeliest"]
    yield Row(f"seed {seed}: after instruction tuning", "0.3 to 0.5", begins, 0.3 <= begins <= 0.5, seeds=(seed,))
    yield Row(
        f"seed {seed}: after the rule", "at least 0.85", end["likeliest"], end["likeliest"] >= 0.85, seeds=(seed,)
    )
    moved = coin["likeliest"] - begins
    yield Row(f"seed {seed}: gain by a coin", "at most 0.05", moved, moved <= 0.05, seeds=(seed,))
    for name in ("pass@1", "pass@4", f"pass@{MOST}"):
        yield Row(f"seed {seed}: {name} before", "told", start[name], True, seeds=(seed,))
        yield Row(f"seed {seed}: {name} after", "told", end[name], True, seeds=(seed,))
    new = found.newly_solved["rl"]
    yield Row(f"seed {seed}: solved now, and before in none of {MOST}", "told", new, True, seeds=(seed,))
    taken = (found.seconds["sft"] + found.seconds["rl"]) / 60
    yield Row(f"seed {seed}: both trainings, CPU time", "below 10", taken, taken < 10, "min", seeds=(seed,))

"""Where reinforcement begins to work: the same RL after instruction tuning of three strengths; and a small model with it
beside a larger one without.

The strengths differ by how many sums are shown before: a few dozen, some hundred, or so many that most are right already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.alignment.setting import Setting
from bench.rows import Row
from bench.verified import Found, run_addition, with_coin, without_reinforcement

SEEDS = 3

STEPS = 100
"""Of the same reinforcement at each level: a fifth of the recipe's."""

LEVELS: Mapping[str, tuple[float, float, int]] = {
    "near 0": (0.0, 0.1, 60),
    "30 to 50%": (0.3, 0.5, 400),
    "near 60%": (0.5, 0.75, 650),
}
"""Name -> the share that is to be solved before, from and to, and the sums that are shown for it."""

LARGER = (
    "sft.model.hidden_size=128",
    "sft.model.intermediate_size=384",
    "sft.model.num_hidden_layers=4",
    "sft.model.head_dim=32",
)
"""Eight times the parameters."""

PASS = "pass@16"


def rows(setting: Setting) -> Iterator[Row]:
    """Run all levels and seeds, then the larger model on the same demonstrations as the part rlvr."""
    for name, (low, high, shown) in LEVELS.items():
        yield from _rows_of(name, low, high, [level(setting, shown, seed) for seed in setting.seeds], setting.seeds)
    for seed in setting.seeds:
        small = run_addition(setting.folder.parent / "rlvr", seed, changed=with_coin)
        large = run_addition(setting.folder / "larger", seed, LARGER, changed=without_reinforcement)
        one, other = small.shares["rl"]["likeliest"], large.shares["sft"]["likeliest"]
        yield Row(f"seed {seed}: small model with the rule", "told", one, True, seeds=(seed,))
        yield Row(f"seed {seed}: model of eight times the size without", "told", other, True, seeds=(seed,))
        yield Row(f"seed {seed}: small with, less large without", "above 0", one - other, one > other, seeds=(seed,))


def level(setting: Setting, shown: int, seed: int) -> Found:
    """Run one level and seed."""
    settings = (f"sums.demonstrations={shown}", f"rl.loop.steps={STEPS}")
    return run_addition(setting.folder / f"shown-{shown}", seed, settings)


def _rows_of(name: str, low: float, high: float, runs: Sequence[Found], seeds: Sequence[int]) -> Iterator[Row]:
    """The rows of one level."""
    for seed, found in zip(seeds, runs, strict=True):
        before, after = found.shares["sft"], found.shares["rl"]
        begins, gain = before["likeliest"], after["likeliest"] - before["likeliest"]
        where = f"{name}, seed {seed}"
        yield Row(f"{where}: before", f"{low:g} to {high:g}", begins, low <= begins <= high, seeds=(seed,))
        yield Row(f"{where}: {PASS} before", "told", before[PASS], True, seeds=(seed,))
        yield Row(f"{where}: after", "told", after["likeliest"], True, seeds=(seed,))
        yield Row(f"{where}: gain", "told", gain, True, seeds=(seed,))

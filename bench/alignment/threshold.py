"""Where reinforcement begins to work: the same RL from instruction tuning of three strengths; and a small model with it
beside a larger one without.

What differs is how many sums are shown before: a few dozen, some hundred, or so many that most are right already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.alignment.setting import Setting
from bench.rows import Row
from bench.verified import Found, run_addition, with_coin, without_reinforcement

SEEDS = 3

LEVELS: Mapping[str, tuple[float, float, Sequence[str]]] = {
    "near 0": (0.0, 0.05, ("sums.demonstrations=60",)),
    "near 60%": (0.5, 0.75, ("sums.demonstrations=650",)),
}
"""Name -> the share that is to be solved before, from and to, and the settings that lead there; 30 to 50% is the part rlvr."""

LARGER = (
    "sft.model.hidden_size=128",
    "sft.model.intermediate_size=384",
    "sft.model.num_hidden_layers=4",
    "sft.model.head_dim=32",
)
"""Eight times the parameters."""

PASS = "pass@16"


def rows(setting: Setting) -> Iterator[Row]:
    """Run all levels and seeds, then the larger model on the same demonstrations."""
    middle = [run_addition(setting.folder.parent / "rlvr", seed, changed=with_coin) for seed in setting.seeds]
    found = {"30 to 50%": (0.3, 0.5, middle)}
    for name, (low, high, settings) in LEVELS.items():
        folder = setting.folder / name.replace(" ", "-").rstrip("%")
        found[name] = (low, high, [run_addition(folder, seed, settings) for seed in setting.seeds])
    for name, (low, high, runs) in found.items():
        yield from _rows_of(name, low, high, runs, setting.seeds)
    larger = [
        run_addition(setting.folder / "larger", seed, LARGER, changed=without_reinforcement) for seed in setting.seeds
    ]
    for seed, small, large in zip(setting.seeds, middle, larger, strict=True):
        one, other = small.shares["rl"]["likeliest"], large.shares["sft"]["likeliest"]
        yield Row(
            f"seed {seed}: smaller with feedback, less larger without",
            "above 0",
            one - other,
            one > other,
            seeds=(seed,),
        )
        yield Row(f"seed {seed}: larger without", "told", other, True, seeds=(seed,))
        yield Row(
            f"seed {seed}: larger without, CPU time", "below 15", large.seconds["sft"] / 60, True, "min", seeds=(seed,)
        )


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

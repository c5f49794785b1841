"""Where every online method ends up on a space of 256 sequences whose best model is known, at three strengths of the KL."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.enumerable import Found, method, reinforce

from bench.alignment.setting import Setting
from bench.rows import Row
from jielong.train.online import ONLINE

SEEDS = 5
BETAS = (1.0, 0.5, 2.0)
"""The coefficient of the KL; a bound is asked at the first."""
BOUND = 0.02


def rows(setting: Setting) -> Iterator[Row]:
    """The worst and the median total variation over the seeds, and how much of the possible gain in reward was made."""
    for beta in BETAS:
        for name in ONLINE:
            found = [_run(setting.folder, name, seed, beta) for seed in setting.seeds]
            yield from _told(f"{name}, beta {beta:g}", found, setting.seeds, is_asked=beta == BETAS[0])
    yield from _told(
        "gspo with the paper's clips, beta 1", [_narrow(setting.folder, s) for s in setting.seeds], setting.seeds
    )
    for form in ("k2", "k3"):
        found = [_in_the_loss(setting.folder, form, seed) for seed in setting.seeds]
        least = min(f.after for f in found)
        name = f"dr_grpo with {form} in the loss in place of the reward: least total variation"
        yield Row(name, "above 0.08: it misses", least, least > 0.08, seeds=setting.seeds)


def _told(name: str, found: list[Found], seeds: tuple[int, ...], *, is_asked: bool = False) -> Iterator[Row]:
    after, gains = [f.after for f in found], [f.share_of_gain for f in found]
    before = f"before {min(f.before for f in found):.2f} to {max(f.before for f in found):.2f}"
    asked = f"at most {BOUND}" if is_asked else f"reported; {before}"
    yield Row(f"{name}: largest total variation", asked, max(after), not is_asked or max(after) <= BOUND, seeds=seeds)
    yield Row(f"{name}: median total variation", "reported", statistics.median(after), True, seeds=seeds)
    yield Row(f"{name}: least share of the possible gain", "reported", min(gains), True, seeds=seeds)


def _run(folder: Path, name: str, seed: int, beta: float) -> Found:
    config, objective = method(name, kl_coefficient=beta)
    return reinforce(folder / f"{name}-{seed}-{beta:g}", seed, config, objective, beta=beta)


def _narrow(folder: Path, seed: int) -> Found:
    config, objective = method("gspo")
    policy = dataclasses.replace(objective.policy, **ONLINE["gspo"].policy)
    return reinforce(folder / f"narrow-{seed}", seed, config, dataclasses.replace(objective, policy=policy))


def _in_the_loss(folder: Path, form: str, seed: int) -> Found:
    config, objective = method("dr_grpo", kl_coefficient=0.0)
    policy = dataclasses.replace(objective.policy, loss_kl=form, loss_kl_coefficient=1.0, aggregation="dapo")
    return reinforce(folder / f"{form}-{seed}", seed, config, dataclasses.replace(objective, policy=policy))

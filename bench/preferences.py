"""Whether losses and gradients on judged answers are TRL's: `python -m bench.preferences`.

TRL's newest is installed into an environment of its own, under --peers; its trainers' own loss methods are given the same
log-probabilities of the same ragged answers as ours (`bench/preferences_trl.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.environments import Environment, Unavailable, ask, environment
from bench.rows import Row, write_rows
from jielong.train.objectives.direct import baseline_of, dpo, ipo, kto, orpo, simpo

PAIRS, LONGEST, SEEDS = 6, 9, (0, 1, 2)

SETTINGS: tuple[dict[str, Any], ...] = (
    {"method": "dpo", "loss_type": "sigmoid", "beta": 0.1},
    {"method": "cdpo", "beta": 0.3, "label_smoothing": 0.1},
    {"method": "ipo", "loss_type": "ipo", "beta": 0.2},
    {"method": "kto", "beta": 0.2, "desirable_weight": 1.0, "undesirable_weight": 1.5},
    {"method": "simpo", "beta": 2.0, "gamma": 1.0},
    {"method": "orpo", "weight": 0.1},
)
"""A method and its settings each; TRL's IPO is the mean per token."""


def case_of(setting: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Log-probabilities of every token of ragged answers, and what a reference finds of the whole ones."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(rows: int) -> Tensor:
        return -torch.rand(rows, LONGEST, generator=generator) * 3 - 0.01

    def mask() -> Tensor:
        sizes = torch.randint(1, LONGEST + 1, (PAIRS, 1), generator=generator)
        return (torch.arange(LONGEST)[None] < sizes).long()

    chosen, rejected, masks = tokens(PAIRS), tokens(PAIRS), (mask(), mask())
    others, both = tokens(2 * PAIRS), torch.cat(masks)
    off = torch.randn(4 * PAIRS, generator=generator) * 2
    return {
        **setting,
        "chosen": chosen.tolist(),
        "rejected": rejected.tolist(),
        "chosen_mask": masks[0].tolist(),
        "rejected_mask": masks[1].tolist(),
        "others": others.tolist(),
        "ref_chosen": ((chosen * masks[0]).sum(1) + off[:PAIRS]).tolist(),
        "ref_rejected": ((rejected * masks[1]).sum(1) + off[PAIRS : 2 * PAIRS]).tolist(),
        # further away, so that the baseline is above 0
        "ref_others": ((others * both).sum(1) + off[2 * PAIRS :] - 2).tolist(),
    }


def ours(case: Mapping[str, Any]) -> tuple[float, Tensor]:
    """Our loss and its gradient on the tokens of both sides."""
    logprobs = [torch.tensor(case[name]).requires_grad_() for name in ("chosen", "rejected")]
    masks = [torch.tensor(case[f"{name}_mask"]) for name in ("chosen", "rejected")]
    sums = [(values * mask).sum(1) for values, mask in zip(logprobs, masks, strict=True)]
    sizes = [mask.sum(1) for mask in masks]
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    references = [torch.tensor(case[f"ref_{name}"]) for name in ("chosen", "rejected")]
    method = case["method"]
    if method in ("dpo", "cdpo"):
        smoothing = case.get("label_smoothing", 0.0)
        losses = dpo(*sums, *references, beta=case["beta"], label_smoothing=smoothing).losses
    elif method == "ipo":
        per_token = [r / size for r, size in zip(references, sizes, strict=True)]
        losses = ipo(*means, *per_token, beta=case["beta"]).losses
    elif method == "simpo":
        losses = simpo(*means, beta=case["beta"], gamma=case["gamma"]).losses
    elif method == "orpo":
        losses = orpo(*means, weight=case["weight"]).losses
    else:
        moved = (torch.tensor(case["others"]) * torch.cat(masks)).sum(1) - torch.tensor(case["ref_others"])
        losses = kto(
            torch.cat(sums) - torch.cat(references),
            torch.arange(2 * PAIRS) < PAIRS,
            torch.tensor(baseline_of(float(moved.sum()), len(moved))),
            beta=case["beta"],
            desirable_weight=case["desirable_weight"],
            undesirable_weight=case["undesirable_weight"],
        )
    loss = losses.mean()
    loss.backward()
    return loss.item(), torch.cat([values.grad for values in logprobs if values.grad is not None])


def preference_rows(peer: Environment) -> Iterator[Row]:
    """A row for the loss and one for the gradient of each method: the largest difference over all seeds."""
    cases = [case_of(setting, seed) for setting in SETTINGS for seed in SEEDS]
    answer = ask(peer, "bench.preferences_trl", cases)
    for number, setting in enumerate(SETTINGS):
        part = slice(number * len(SEEDS), (number + 1) * len(SEEDS))
        loss = gradient = 0.0
        for case, theirs in zip(cases[part], answer["found"][part], strict=True):
            value, own = ours(case)
            loss = max(loss, abs(value - theirs["loss"]))
            gradient = max(gradient, float((own - torch.tensor(theirs["chosen"] + theirs["rejected"])).abs().max()))
        name = f"{setting['method']}, TRL {answer['version']}"
        for what, difference in (("loss", loss), ("gradient", gradient)):
            yield Row(
                f"{name}, {what}: largest difference", "at most 1e-6", difference, difference <= 1e-6, seeds=SEEDS
            )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.preferences", description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "jielong-bench")
    options = parser.parse_args(arguments)
    try:
        rows = list(preference_rows(environment("trl", options.peers)))
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    write_rows("preferences", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

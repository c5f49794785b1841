"""TRL's side of `bench.preferences`, run by the Python that has TRL: losses and gradients on the log-probabilities it is given.

`python -m bench.preferences_trl CASES OUT`, both JSON. The trainers' own methods compute everything; they are given
log-probabilities in place of a model's, in float32, as TRL casts to it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import trl
from torch import Tensor
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer


class Alone(SimpleNamespace):
    """Accelerate with one process on a CPU."""

    device = torch.device("cpu")

    def gather(self, value: Tensor) -> Tensor:
        return value

    gather_for_metrics = gather

    def autocast(self) -> Any:
        return nullcontext()


class Given:
    """A model that answers with the next of the log-probabilities it is given, (B, T - 1) each."""

    training = True

    def __init__(self, *logprobs: Tensor) -> None:
        self.left = list(logprobs)

    def __call__(self, **_: Any) -> SimpleNamespace:
        logprobs = self.left.pop(0)
        shown = torch.zeros_like(logprobs)
        return SimpleNamespace(log_probs=logprobs, entropy=shown, mean_logits=shown, is_top1=shown.bool())


def trainer(kind: Any, **fields: Any) -> Any:
    """A trainer with these fields and no more than its loss needs."""
    made = object.__new__(kind)
    common = {
        "accelerator": Alone(), "aux_loss_enabled": False, "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0, "_tp_size": 1, "precompute_ref_logps": True,
        "model": SimpleNamespace(training=True),
    }  # fmt: skip
    for name, value in {**common, **fields}.items():
        setattr(made, name, value)
    return made


def dpo(case: dict[str, Any], chosen: Tensor, rejected: Tensor) -> Tensor:
    """DPOTrainer on per-token log-probabilities (P, T)."""
    made = trainer(
        trl.DPOTrainer, loss_types=[case["loss_type"]], loss_weights=[1.0], beta=case["beta"], ld_alpha=None,
        f_divergence_type="reverse_kl", label_smoothing=0.0, use_weighting=False,
    )  # fmt: skip
    logprobs = torch.cat([chosen, rejected])
    mask = torch.tensor(case["chosen_mask"] + case["rejected_mask"])
    whole = torch.cat([torch.zeros(len(mask), 1, dtype=mask.dtype), mask], dim=1)
    inputs = {
        "input_ids": torch.zeros_like(whole), "attention_mask": torch.ones_like(whole), "completion_mask": whole,
        "ref_chosen_logps": torch.tensor(case["ref_chosen"]), "ref_rejected_logps": torch.tensor(case["ref_rejected"]),
    }  # fmt: skip
    return made._compute_loss(Given(logprobs * mask), inputs, False)


def kto(case: dict[str, Any], chosen: Tensor, rejected: Tensor) -> Tensor:
    """KTOTrainer: chosen answers are desirable, rejected ones are not; z comes from the answers to others."""
    made = trainer(
        trl.KTOTrainer, loss_type="kto", beta=case["beta"], calculate_KL=True, desirable_weight=case["desirable_weight"],
        undesirable_weight=case["undesirable_weight"],
    )  # fmt: skip
    mask = torch.tensor(case["chosen_mask"] + case["rejected_mask"])
    whole = torch.cat([torch.zeros(len(mask), 1, dtype=mask.dtype), mask], dim=1)
    others = torch.tensor(case["others"])
    inputs = {
        "input_ids": torch.zeros_like(whole), "attention_mask": torch.ones_like(whole), "completion_mask": whole,
        "KL_input_ids": torch.zeros_like(whole), "KL_attention_mask": torch.ones_like(whole), "KL_completion_mask": whole,
        "label": torch.tensor([True] * len(chosen) + [False] * len(rejected)),
        "ref_logps": torch.tensor(case["ref_chosen"] + case["ref_rejected"]), "ref_KL_logps": torch.tensor(case["ref_others"]),
    }  # fmt: skip
    return made._compute_loss(Given(others * mask, torch.cat([chosen, rejected]) * mask), inputs, False)


def sides(case: dict[str, Any], chosen: Tensor, rejected: Tensor, *, means: bool) -> tuple[Tensor, Tensor]:
    """Log-probabilities of both answers, of the whole or per token."""
    found = []
    for logprobs, name in ((chosen, "chosen_mask"), (rejected, "rejected_mask")):
        mask = torch.tensor(case[name])
        found.append((logprobs * mask).sum(1) / (mask.sum(1) if means else 1))
    return found[0], found[1]


def cdpo(case: dict[str, Any], chosen: Tensor, rejected: Tensor) -> Tensor:
    """CPOTrainer's smoothed loss on log-ratios: TRL's DPOTrainer has no smoothing any more."""
    made = trainer(
        CPOTrainer, loss_type="sigmoid", alpha=0.0, beta=case["beta"], label_smoothing=case["label_smoothing"]
    )
    one, other = sides(case, chosen, rejected, means=False)
    return made.cpo_loss(one - torch.tensor(case["ref_chosen"]), other - torch.tensor(case["ref_rejected"]))[0].mean()


def simpo(case: dict[str, Any], chosen: Tensor, rejected: Tensor) -> Tensor:
    """CPOTrainer with the loss of SimPO."""
    made = trainer(
        CPOTrainer, loss_type="simpo", alpha=0.0, beta=case["beta"], label_smoothing=0.0, simpo_gamma=case["gamma"]
    )
    return made.cpo_loss(*sides(case, chosen, rejected, means=True))[0].mean()


def orpo(case: dict[str, Any], chosen: Tensor, rejected: Tensor) -> Tensor:
    """ORPOTrainer's odds beside the likelihood per answer (TRL's is per token of the batch, prompts included)."""
    made = trainer(ORPOTrainer, beta=case["weight"])
    one, other = sides(case, chosen, rejected, means=True)
    return -one.mean() - made.odds_ratio_loss(one, other)[0].mean()


METHODS = {"dpo": dpo, "ipo": dpo, "cdpo": cdpo, "kto": kto, "simpo": simpo, "orpo": orpo}


def main(cases: Path, out: Path) -> None:
    """Write loss and gradient of every case, and the version."""
    found = []
    for case in json.loads(cases.read_text()):
        chosen, rejected = (torch.tensor(case[name]).requires_grad_() for name in ("chosen", "rejected"))
        loss = METHODS[case["method"]](case, chosen, rejected)
        loss.backward()
        found.append({"loss": loss.item(), "chosen": chosen.grad.tolist(), "rejected": rejected.grad.tolist()})
    out.write_text(json.dumps({"version": trl.__version__, "found": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

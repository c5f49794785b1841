"""TRL's side of `bench.alignment.trl`, run by a Python that has TRL: losses, gradients and advantages of the cases it is given.

`python -m bench.online_trl CASES OUT`, both JSON. GRPOTrainer and RLOOTrainer compute losses by their own methods, on
logits in place of a model's. Advantages, and all of PPO, stand in the middle of long methods; those lines are taken from
the installed source and run as they are.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import trl
from torch import Tensor

from bench.preferences_trl import Alone, trainer


class Gathering(Alone):
    """One process, of which sums over all are its own."""

    num_processes, process_index, sync_gradients = 1, 0, True

    def reduce(self, value: Tensor, reduction: str = "sum") -> Tensor:
        return value


def lines(function: Callable[..., Any], first: str, last: str) -> str:
    """The lines of a function's source from the one that begins with `first` to the next that begins with `last`."""
    source = inspect.getsource(function).splitlines()
    start = next(i for i, line in enumerate(source) if line.strip().startswith(first))
    end = next(i for i, line in enumerate(source) if i >= start and line.strip().startswith(last))
    return textwrap.dedent("\n".join(source[start : end + 1]))


def run(function: Callable[..., Any], first: str, last: str, **given: Any) -> dict[str, Any]:
    """Run such lines with these names, beside those of the function's own module; return all names."""
    names = {**vars(importlib.import_module(function.__module__)), **given}
    exec(lines(function, first, last), names)
    return names


def token_logprobs(case: dict[str, Any], logits: Tensor) -> Tensor:
    """(B, T), at the temperature of sampling."""
    logprobs = torch.log_softmax(logits / case["temperature"], dim=-1)
    return logprobs.gather(2, torch.tensor(case["ids"])[:, :, None])[:, :, 0]


def grouped(case: dict[str, Any], logits: Tensor) -> dict[str, Any]:
    """GRPO and its kin, or RLOO."""
    rewards, size = torch.tensor(case["rewards"]), case["group_size"]
    is_rloo = case["method"] == "rloo"
    kind = trl.RLOOTrainer if is_rloo else trl.GRPOTrainer
    given = trainer(
        kind, accelerator=Gathering(), loss_type=case.get("loss_type"), beta=case["beta"], epsilon_low=case["clip_low"],
        epsilon_high=case["clip_high"], importance_sampling_level=case.get("level", "token"), top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, use_vllm=False, max_completion_length=case["max_tokens"],
        current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False, normalize_advantages=False,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1, sapo_temperature_pos=1.0),
    )  # fmt: skip
    function = kind._generate_and_score_completions
    names = {"self": given, "rewards": rewards, "num_generations": size, "prompts": rewards}
    if is_rloo:
        found = run(function, "grouped_rewards = ", "advantages = torch.nan_to_num", **names)
    else:
        given.scale_rewards = "group" if case["divide_by_std"] else "none"
        given.multi_objective_aggregation = "sum_then_normalize"
        weights = {"rewards_per_func": rewards[:, None], "device": torch.device("cpu"), "mode": "train"}
        given.reward_weights = torch.ones(1)
        found = run(function, "unscorable_mask = ", "advantages = torch.nan_to_num", **names, **weights)
    mask, logprobs = torch.tensor(case["mask"]), token_logprobs(case, logits)
    old, reference = torch.tensor(case["old"]), torch.tensor(case["reference"])
    entropies = torch.zeros_like(logprobs)
    given._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropies, None)
    empty = torch.zeros(len(rewards), 0, dtype=torch.int64)
    inputs = {
        "prompt_ids": empty, "prompt_mask": empty, "completion_ids": torch.tensor(case["ids"]), "completion_mask": mask,
        "advantages": found["advantages"], "old_per_token_logps": old, "ref_per_token_logps": reference,
        "old_logps": (old * mask).sum(1), "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    loss = given._compute_loss(given.model, inputs)
    loss.backward()
    return {"loss": loss.item(), "advantages": found["advantages"].tolist(), "gradient": logits.grad.tolist()}


def ppo(case: dict[str, Any], logits: Tensor) -> dict[str, Any]:
    """PPO with its critic, on full rows."""
    from trl.experimental.ppo.ppo_trainer import PPOTrainer

    rows, width = len(case["ids"]), len(case["ids"][0])
    none = torch.zeros(rows, width, dtype=torch.bool)
    args = SimpleNamespace(
        kl_coef=case["beta"], kl_estimator="k1", whiten_rewards=False, gamma=case["gamma"], lam=case["lam"],
        cliprange=case["clip_low"], cliprange_value=case["value_clip"], vf_coef=case["value_coefficient"],
    )  # fmt: skip
    old, values = torch.tensor(case["old"]), torch.tensor(case["old_values"])
    last = torch.full((rows,), width - 1)
    first = run(
        PPOTrainer.train, "# 4. compute rewards", "advantages = torch.masked_fill",
        args=args, ref_logprobs=torch.tensor(case["reference"]), logprobs=old, scores=torch.tensor(case["rewards"]),
        sequence_lengths=last, sequence_lengths_p1=last + 1, values=values, responses=torch.tensor(case["ids"]),
        padding_mask=none, padding_mask_p1=none,
    )  # fmt: skip
    predicted = torch.tensor(case["values"]).requires_grad_()
    second = run(
        PPOTrainer.train, "new_logprobs = selective_log_softmax", "loss = pg_loss",
        args=args, logits=logits / case["temperature"], mb_responses=torch.tensor(case["ids"]), padding_mask=none,
        padding_mask_p1=none, micro_batch_inds=slice(None), context_length=1, mb_values=values,
        vpred_temp=torch.cat([predicted, torch.zeros(rows, 1)], dim=1)[:, :, None], mb_return=first["returns"],
        mb_logprobs=old, mb_advantage=first["advantages"],
    )  # fmt: skip
    second["loss"].backward()
    return {
        "loss": second["loss"].item(), "advantages": first["advantages"].tolist(), "gradient": logits.grad.tolist(),
        "value_gradient": predicted.grad.tolist(),
    }  # fmt: skip


def main(cases: Path, out: Path) -> None:
    """Write what is found of every case, and the version."""
    found = []
    for case in json.loads(cases.read_text()):
        logits = torch.tensor(case["logits"]).requires_grad_()
        found.append((ppo if case["method"] == "ppo" else grouped)(case, logits))
    out.write_text(json.dumps({"version": trl.__version__, "found": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

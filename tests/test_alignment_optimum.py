"""Where reinforcement ends up is known: on a space that can be enumerated, every algorithm must reach pi_ref exp(r/beta)/Z.

Four tokens, four places: 256 sequences. Policy and critic are tables with one row for each prefix, so nothing but the
algorithm can be at fault; rollouts, objectives, optimizers and loop are the real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jielong.data.batches import Batch
from jielong.records import Conversation, Request, Sample, Score
from jielong.train.advantages import gae, kl_penalised_rewards
from jielong.train.loop import Loop, LoopConfig
from jielong.train.objectives.policy import PPO, PolicyConfig, PolicyGradient, PPOConfig, ValueConfig
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt

V, L = 4, 4
NUM_PREFIXES = (V**L - 1) // (V - 1)  # 1 + 4 + 16 + 64
SEQUENCES = torch.cartesian_prod(*[torch.arange(V)] * L)


def prefix_rows(inputs: Tensor) -> Tensor:
    """The row of the prefix that ends at each column; column 0 holds the prompt, one token."""
    rows = torch.zeros_like(inputs)
    for t in range(1, min(inputs.shape[1], L)):
        rows[:, t] = rows[:, t - 1] * V + 1 + inputs[:, t]
    return rows


class TablePolicy(nn.Module):
    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.table[prefix_rows(inputs)]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


class TableCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(NUM_PREFIXES))

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.table[prefix_rows(inputs)]


def token_logprobs_of(table: Tensor) -> Tensor:
    """(256, L): log-probability of every token of every sequence."""
    inputs = torch.cat([torch.zeros(len(SEQUENCES), 1, dtype=torch.int64), SEQUENCES], dim=1)
    logprobs = torch.log_softmax(table[prefix_rows(inputs)[:, :L]], dim=-1)
    return logprobs.gather(2, SEQUENCES[:, :, None])[:, :, 0]


class TableEngine:
    """Draws whole sequences from the exact distribution."""

    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        self.logprobs = token_logprobs_of(state["table"].detach().double())

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        cumulative = self.logprobs.sum(dim=1).exp().cumsum(0).numpy()
        dice = np.random.default_rng(requests[0].seed).random(len(requests))
        drawn = np.minimum(np.searchsorted(cumulative, dice), V**L - 1).tolist()
        ids, logprobs = SEQUENCES.tolist(), self.logprobs.tolist()
        return [
            Sample(r.prompt_ids, tuple(ids[n]), tuple(logprobs[n]), stop="length")
            for r, n in zip(requests, drawn, strict=True)
        ]


def random_problem(seed: int) -> tuple[Tensor, Tensor]:
    """A reference table, and a reward for each sequence."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(NUM_PREFIXES, V, generator=generator), torch.randn(V**L, generator=generator)


def optimum(reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    return torch.softmax(token_logprobs_of(reference.double()).sum(dim=1) + rewards.double() / beta, dim=0)


def distance(table: Tensor, target: Tensor) -> float:
    return 0.5 * float((token_logprobs_of(table.detach().double()).sum(dim=1).exp() - target).abs().sum())


def reinforce(
    directory: Path, seed: int, config: RolloutConfig, objective: Any, *, steps: int = 100, lr: float = 0.1
) -> tuple[float, float]:
    """Total variation to the optimum of beta = 1, before and after."""
    reference, rewards = random_problem(seed)
    target = optimum(reference, rewards, beta=1.0)
    values = dict(zip(map(tuple, SEQUENCES.tolist()), rewards.tolist(), strict=True))

    def scorer(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        return [Score(values[sample.ids]) for _, _, sample in items]

    modules: dict[str, nn.Module] = {"policy": TablePolicy(reference), "reference": TablePolicy(reference)}
    if config.algorithm == "ppo":
        modules["critic"] = TableCritic()
    rates = OptimizerConfig(
        lr=lr, warmup_steps=1, decay_fraction=0.7, final_fraction=0.0, weight_decay=0.0, beta1=0.9, beta2=0.99
    )
    optimizers = {n: Optimizer(m, rates) for n, m in modules.items() if n != "reference"}
    source = Rollouts([Prompt((0,))], modules, TableEngine(), scorer, config, seed=seed, stop_ids=())
    loop_config = LoopConfig(steps=steps, max_grad_norm=1e9, save_every_s=1e9, diverged_above=0.0, log_every=10**6)
    loop = Loop(modules, optimizers, source, objective, loop_config, directory, lambda model, path: None)
    loop.run()
    return distance(reference, target), distance(modules["policy"].table, target)


BASE = RolloutConfig(prompts=512, epochs=2, micro_rows=512, max_tokens=L, kl_coefficient=1.0, missing_stop_penalty=0.0)
GROUPS = dataclasses.replace(BASE, algorithm="grpo", prompts=32, group_size=16)
EXACT_VALUE = ValueConfig(clip=0.0, coefficient=1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("config", "objective"),
    [
        (BASE, PPO(PPOConfig(value=EXACT_VALUE))),
        (GROUPS, PolicyGradient(PolicyConfig(aggregation="grpo"))),
        (dataclasses.replace(GROUPS, divide_by_std=False), PolicyGradient(PolicyConfig(aggregation="dr_grpo"))),
        (GROUPS, PolicyGradient(PolicyConfig(aggregation="dapo", clip_high=0.28))),
    ],
    ids=["ppo", "grpo", "dr_grpo", "dapo"],
)
def test_every_algorithm_reaches_the_optimum(
    config: RolloutConfig, objective: PPO | PolicyGradient, seed: int, tmp_path: Path
) -> None:
    before, after = reinforce(tmp_path, seed, config, objective)
    assert before > 0.3
    assert after <= 0.02


def test_half_the_penalty_misses_the_optimum(tmp_path: Path) -> None:
    """The control: the distances above are small because of the KL in the reward, not because they always are."""
    config = dataclasses.replace(BASE, kl_coefficient=0.5)
    _, after = reinforce(tmp_path, 0, config, PPO(PPOConfig(value=EXACT_VALUE)))
    assert after > 0.05


# The gradient itself, with every sequence weighed by its probability instead of drawn.


def whole_space(policy: TablePolicy, reference: TablePolicy, rewards: Tensor, beta: float) -> Batch:
    """All 256 sequences; weights are probabilities, advantages the rewards still to come."""
    inputs = torch.cat([torch.zeros(V**L, 1, dtype=torch.int64), SEQUENCES], dim=1)
    targets = torch.cat([SEQUENCES, torch.zeros(V**L, 1, dtype=torch.int64)], dim=1)
    mask = torch.ones(V**L, L + 1)
    mask[:, L] = 0
    pad = nn.functional.pad
    old, ref = (pad(token_logprobs_of(p.table.detach()), (0, 1)) for p in (policy, reference))
    rewards_BT = kl_penalised_rewards(rewards, old, ref, mask, beta)
    advantages, _ = gae(rewards_BT, torch.zeros_like(mask), mask, lam=1.0)
    extra = {"advantages": advantages, "old_logprobs": old, "engine_logprobs": old, "ref_logprobs": ref}
    numbers = {"temperature": torch.tensor(1.0), "max_tokens": torch.tensor(float(L))}
    positions = torch.arange(L + 1).expand(V**L, -1)
    probability = old.sum(dim=1, keepdim=True).exp()
    segments = torch.ones_like(inputs, dtype=torch.int32)
    return Batch(inputs, targets, mask * probability, positions, segments, extra={**extra, **numbers})


def gradient_error(beta_in_reward: float, config: PolicyConfig) -> float:
    """Relative distance of the objective's gradient to that of -(E[r] - KL), both over the whole space."""
    reference_table, rewards = random_problem(3)
    moved = reference_table + 0.7 * torch.randn(NUM_PREFIXES, V, generator=torch.Generator().manual_seed(9))
    policy, reference = TablePolicy(moved), TablePolicy(reference_table)
    batch = whole_space(policy, reference, rewards, beta_in_reward)
    PolicyGradient(config)({"policy": policy}, batch).terms["policy"][0].backward()
    found = policy.table.grad
    assert found is not None
    policy.table.grad = None
    logprobs = token_logprobs_of(policy.table).sum(dim=1)
    ratio = logprobs - token_logprobs_of(reference.table).sum(dim=1).detach()
    (-(logprobs.exp() * (rewards - ratio)).sum()).backward()
    right = policy.table.grad
    assert right is not None
    return float((found - right).norm() / right.norm())


def test_kl_in_the_reward_has_the_exact_gradient_and_kl_in_the_loss_has_not() -> None:
    assert gradient_error(1.0, PolicyConfig()) < 1e-5
    assert gradient_error(0.0, PolicyConfig(loss_kl="k3", loss_kl_coefficient=1.0)) > 0.05
    assert gradient_error(0.0, PolicyConfig(loss_kl="k2", loss_kl_coefficient=1.0)) > 0.05

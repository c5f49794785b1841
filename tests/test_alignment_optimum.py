"""Where reinforcement ends up is known: on a space that can be enumerated, every algorithm must reach pi_ref exp(r/beta)/Z."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.enumerable import (
    BASE,
    NUM_PREFIXES,
    SEQUENCES,
    L,
    TablePolicy,
    V,
    distribution,
    method,
    random_problem,
    reinforce,
    token_logprobs_of,
)
from torch import Tensor, nn

from jielong.data.batches import Batch
from jielong.train.advantages import best_of_group, gae, kl_penalised_rewards
from jielong.train.objectives.policy import PolicyConfig, PolicyGradient
from jielong.train.online import ONLINE


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ONLINE)
def test_every_method_reaches_the_optimum_and_its_reward(name: str, seed: int, tmp_path: Path) -> None:
    found = reinforce(tmp_path, seed, *method(name))
    assert found.before > 0.3
    assert found.after <= 0.02
    assert found.reward_best > found.reward_before + 0.5
    assert found.share_of_gain > 0.95


def test_the_optimum_is_that_of_the_reference_at_the_temperature_of_sampling(tmp_path: Path) -> None:
    found = reinforce(tmp_path, 0, *method("grpo", temperature=0.6))
    assert found.before > 0.3 and found.after <= 0.02


def test_half_the_penalty_misses_the_optimum(tmp_path: Path) -> None:
    """The control: the distances above are small because of the KL in the reward, not because they always are."""
    assert reinforce(tmp_path, 0, *method("ppo", kl_coefficient=0.5)).after > 0.05


@pytest.mark.parametrize("form", ["k2", "k3"])
def test_a_kl_in_the_loss_misses_the_optimum(form: str, tmp_path: Path) -> None:
    config, objective = method("dr_grpo", kl_coefficient=0.0)
    policy = dataclasses.replace(objective.policy, loss_kl=form, loss_kl_coefficient=1.0, aggregation="dapo")
    assert reinforce(tmp_path, 0, config, dataclasses.replace(objective, policy=policy)).after > 0.08


def test_a_reward_that_does_not_look_gains_nothing(tmp_path: Path) -> None:
    dice = np.random.default_rng(0).standard_normal(BASE.prompts * 60).tolist()
    found = reinforce(tmp_path, 0, *method("grpo"), blind=lambda n: dice[n])
    assert abs(found.share_of_gain) < 0.1


# Best of n, the baseline


def best_of(n: int, probability: Tensor, rewards: Tensor) -> Tensor:
    """The distribution of the best of n draws: the chance that all are at most as good, less that all are worse."""
    order = rewards.argsort()
    upto = probability[order].cumsum(0).clamp(max=1.0)
    below = torch.cat([torch.zeros(1, dtype=upto.dtype), upto[:-1]])
    return torch.zeros_like(upto).scatter(0, order, upto**n - below**n)


@pytest.mark.parametrize("n", [2, 4, 16, 64])
def test_the_best_of_n_is_within_its_bound_of_the_reference(n: int) -> None:
    reference, rewards = random_problem(0)
    start = distribution(reference)
    best = best_of(n, start, rewards)
    assert best.sum().item() == pytest.approx(1.0)
    kl = float((best * (best / start).clamp(min=1e-300).log()).sum())
    assert 0.9 * (math.log(n) - (n - 1) / n) < kl <= math.log(n) - (n - 1) / n + 1e-9
    # and what is kept of groups of n is so distributed
    groups = 20_000
    drawn = torch.multinomial(start, groups * n, replacement=True, generator=torch.Generator().manual_seed(1))
    kept = drawn[best_of_group(rewards[drawn], n) == 1]
    assert len(kept) == groups
    assert 0.5 * float((torch.bincount(kept, minlength=V**L) / groups - best).abs().sum()) < 0.05


def test_expert_iteration_learns_the_best_of_n_and_then_goes_beyond_it(tmp_path: Path) -> None:
    config, objective = method("expert_iteration")
    reference, rewards = random_problem(0)
    best = best_of(config.group_size, distribution(reference), rewards)
    expected = float((best * rewards.double()).sum())
    found = reinforce(tmp_path, 0, config, objective)
    assert found.reward_after > expected > found.reward_before + 0.5


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

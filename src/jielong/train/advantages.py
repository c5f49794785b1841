"""Advantages from scores: how much better each token of a sample was than expected.

All streams are (B, T), column t speaking about the token that was drawn there; the mask is 1 on tokens that the policy
wrote. Between two of them may lie tokens that it did not write (a tool's result): value and advantage pass over those as
if they were not there. The KL penalty is part of the reward, token by token, because only there does its gradient lead to
the optimum pi_ref * exp(r / beta) / Z.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.errors import ConfigError
from jielong.train.parallel import Ranks


def kl_penalised_rewards(
    scores: Tensor, logprobs_BT: Tensor, reference_BT: Tensor, mask_BT: Tensor, coefficient: float
) -> Tensor:
    """Return rewards (B, T): -coefficient * (logp - logp_ref) on each masked token, plus the row's score (B,) on its
    last one.

    The k1 estimate, with the policy that drew the tokens (Ziegler et al. 2019). Zero where the mask is zero.
    """
    is_written = mask_BT != 0
    rewards = torch.where(is_written, -coefficient * (logprobs_BT - reference_BT), 0.0)
    columns = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last = (columns * is_written).amax(dim=1, keepdim=True)
    has_any = is_written.any(dim=1)
    return rewards.scatter_add(1, last, torch.where(has_any, scores, 0.0).to(rewards.dtype)[:, None])


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Return advantages and returns, both (B, T) float32, zero where the mask is zero.

    Generalised advantage estimation, Schulman et al. 2016, eq. 16. `rewards_BT` hold any KL penalty already. The
    episode ends at the last masked token: no bootstrap after it.
    """
    is_written = mask_BT != 0
    advantages = torch.zeros(rewards_BT.shape, device=rewards_BT.device)
    later_value = torch.zeros(rewards_BT.shape[0], device=rewards_BT.device)
    later_advantage = torch.zeros_like(later_value)
    for t in reversed(range(rewards_BT.shape[1])):
        here = is_written[:, t]
        delta = rewards_BT[:, t] + gamma * later_value - values_BT[:, t]
        later_advantage = torch.where(here, delta + gamma * lam * later_advantage, later_advantage)
        later_value = torch.where(here, values_BT[:, t], later_value)
        advantages[:, t] = torch.where(here, later_advantage, 0.0)
    return advantages, torch.where(is_written, advantages + values_BT, 0.0)


def whiten(values_BT: Tensor, mask_BT: Tensor, *, ranks: Ranks = Ranks()) -> Tensor:  # noqa: B008 - frozen
    """Normalise to mean 0 and standard deviation 1 over all masked entries of all ranks; zero elsewhere."""
    is_in = mask_BT != 0
    kept = values_BT[is_in].cpu().double()  # not every device has float64
    first = ranks.sum_numbers({"count": float(len(kept)), "sum": float(kept.sum())})
    mean = first["sum"] / max(first["count"], 1.0)
    spread = ranks.sum_numbers({"squares": float((kept - mean).square().sum())})["squares"]
    std = (spread / max(first["count"] - 1.0, 1.0)) ** 0.5
    return torch.where(is_in, (values_BT - mean) / (std + 1e-8), 0.0)


def group_advantages(rewards: Tensor, group_size: int, *, divide_by_std: bool = True) -> Tensor:
    """Return (r - mean) / (std + 1e-4) within each group of neighbouring rows, (B,): GRPO, Shao et al. 2024, section
    4.1.

    A group of equal rewards gets exactly 0. Without the division it is Dr. GRPO's (Liu et al. 2025).
    """
    if group_size < 2 or len(rewards) % group_size:
        raise ConfigError(
            f"{len(rewards)} rewards in groups of {group_size}; expected a multiple of a size of at least 2"
        )
    groups = rewards.view(-1, group_size)
    differences = groups - groups.mean(dim=1, keepdim=True)
    # A mean of equal numbers may be off by one rounding, which the division would blow up to a thousandth.
    differences = torch.where(is_flat(rewards, group_size)[:, None], 0.0, differences)
    if divide_by_std:
        differences = differences / (groups.std(dim=1, keepdim=True) + 1e-4)
    return differences.reshape(-1)


def leave_one_out(rewards: Tensor, group_size: int) -> Tensor:
    """Return each reward less the mean of the others in its group of neighbouring rows, (B,): RLOO, Ahmadian et al.
    2024, eq. 7.
    """
    return group_advantages(rewards, group_size, divide_by_std=False) * (group_size / (group_size - 1))


def best_of_group(rewards: Tensor, group_size: int) -> Tensor:
    """Return 1 for the best of each group of neighbouring rows, the first of equal ones, and 0 for the others, (B,)."""
    groups = rewards.view(-1, group_size)
    return torch.zeros_like(groups).scatter_(1, groups.argmax(dim=1, keepdim=True), 1.0).reshape(-1)


def overlong_penalty(length: int, max_tokens: int, soft_tokens: int) -> float:
    """Return the penalty of a sample's length, from 0 to -1: it grows over the last `soft_tokens` before `max_tokens`.

    DAPO, Yu et al. 2025, eq. 13.
    """
    return -min(1.0, max(0.0, (length - (max_tokens - soft_tokens)) / soft_tokens)) if soft_tokens else 0.0


def is_flat(rewards: Tensor, group_size: int) -> Tensor:
    """Return (B / group_size,) bool: true for groups whose rewards are all equal, which teach nothing."""
    groups = rewards.view(-1, group_size)
    return (groups == groups[:, :1]).all(dim=1)


def group_spread(rewards: Tensor, group_size: int) -> Tensor:
    """Return (B / group_size,): the standard deviation of the rewards within each group of at least two."""
    return rewards.view(-1, group_size).std(dim=1)


@dataclass(frozen=True)
class AdaptiveKL:
    """A controller of the KL coefficient: beta *= 1 + rate * clip(KL / target - 1, -0.2, 0.2), after each rollout.

    Ziegler et al. 2019, section 2.2. `target` is in nats per sequence.
    """

    target: float
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.target <= 0:
            raise ConfigError(f"adaptive KL target is {self.target}; it must be above 0 nats per sequence")

    def next(self, coefficient: float, kl: float) -> float:
        """Return the coefficient for the next rollout, after one with this mean KL per sequence."""
        return coefficient * (1.0 + self.rate * min(0.2, max(-0.2, kl / self.target - 1.0)))

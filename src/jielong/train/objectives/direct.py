"""Losses of direct preference methods (DPO and its kin), as pure functions of log-probabilities.

Each takes the log-probabilities of whole answers (or their means per token), and gives the loss of every pair or answer
and the implied rewards. Nothing here is averaged, and nothing knows a model: `direct_pairs` and `direct_answers` do.
"""
# P pairs, N answers.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CERTAIN = -1e-6
"""Mean log-probability above which an answer counts as certain: log(1 - p) has no finite gradient at p = 1."""


@dataclass(frozen=True)
class PairLosses:
    """Losses (P,) with gradient, and the implied rewards of both answers (P,), without."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    label: Tensor | float = 1.0,
) -> PairLosses:
    """Return -q log sigmoid(beta d) - (1 - q) log sigmoid(-beta d), with d = log(p/p_ref)(chosen) -
    log(p/p_ref)(rejected).

    Direct preference optimisation, Rafailov et al. 2023, eq. 7 (arXiv 2305.18290), is q = 1. With a share e of labels
    that are taken to be wrong, q = 1 - e: conservative DPO (Mitchell 2023, "A note on DPO with noisy preferences").
    `label` is the probability that `chosen` is better, so q = label (1 - e) + (1 - label) e. With exact Bradley-Terry
    labels of rewards r the optimum is p_ref exp(r / beta) / Z.
    """
    rewards, other = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    likely = label * (1 - label_smoothing) + (1 - label) * label_smoothing
    return PairLosses(_cross_entropy(rewards - other, likely), rewards.detach(), other.detach())


def ipo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    label: Tensor | float = 1.0,
) -> PairLosses:
    """Return (d - 1 / (2 beta))^2 with d as in `dpo`, Azar et al. 2023, eq. 17 (arXiv 2310.12036), whose tau is beta.

    All four are log-probabilities of whole answers, as in the paper, or all are means per token. A label between 0 and
    1 mixes both directions. Over all pairs the optimum is p_ref exp(q / beta) / Z, where q of an answer is how often it
    is preferred to another one.
    """
    rewards, other = chosen - ref_chosen, rejected - ref_rejected
    gap, aim = rewards - other, 1 / (2 * beta)
    losses = label * (gap - aim).square() + (1 - label) * (gap + aim).square()
    return PairLosses(losses, beta * rewards.detach(), beta * other.detach())


def simpo(
    chosen_mean: Tensor,
    rejected_mean: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    label: Tensor | float = 1.0,
) -> PairLosses:
    """Return -log sigmoid(beta (mean_chosen - mean_rejected) - gamma), Meng et al. 2024, eq. 6 (arXiv 2405.14734).

    Means are log-probabilities per token of the answer; there is no reference. A label between 0 and 1 mixes both
    directions. With gamma 0, exact labels and answers of n tokens the optimum is exp(n r / beta) / Z.
    """
    rewards, other = beta * chosen_mean, beta * rejected_mean
    losses = -label * F.logsigmoid(rewards - other - gamma) - (1 - label) * F.logsigmoid(other - rewards - gamma)
    return PairLosses(losses, rewards.detach(), other.detach())


def orpo(chosen_mean: Tensor, rejected_mean: Tensor, *, weight: float = 0.1, label: Tensor | float = 1.0) -> PairLosses:
    """Return -mean_chosen - weight log sigmoid(log odds(chosen) - log odds(rejected)), Hong et al. 2024, eq. 6 (arXiv
    2403.07691).

    Odds are p / (1 - p) with p = exp(mean log-probability per token). The first part is instruction tuning on the
    better answer, so there is no reference. A label between 0 and 1 mixes both directions.
    """
    chosen_odds, rejected_odds = log_odds(chosen_mean), log_odds(rejected_mean)
    likelihood = label * chosen_mean + (1 - label) * rejected_mean
    losses = -likelihood + weight * _cross_entropy(chosen_odds - rejected_odds, label)
    return PairLosses(losses, weight * chosen_mean.detach(), weight * rejected_mean.detach())


def kto(
    logratio: Tensor,
    is_desirable: Tensor,
    baseline: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Return losses (N,): weight * (1 - sigmoid(+-beta (log(p/p_ref) - z))), + for desirable answers and - for the
    others.

    Kahneman-Tversky optimisation, Ethayarajh et al. 2024, eq. 8 (arXiv 2402.01306). z, the `baseline`, is an estimate
    of KL(p, p_ref) from answers to other prompts (`baseline_of`), and gets no gradient. For a fixed z the loss is
    linear in the sigmoid: its optimum is all on one side for each answer, and no tilted distribution.
    """
    gain = beta * (logratio - baseline)
    liked, disliked = desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    return torch.where(is_desirable, liked, disliked)


def baseline_of(total: float, count: float) -> float:
    """Return KTO's z from the sum of log(p/p_ref) over `count` answers paired with the prompts of others; never
    negative.
    """
    return max(0.0, total / count) if count else 0.0


def log_odds(logprob: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of p = exp(logprob), finite up to p = 1."""
    logprob = logprob.clamp(max=CERTAIN)
    return logprob - log1mexp(logprob)


def log1mexp(x: Tensor) -> Tensor:
    """Return log(1 - exp(x)) for x < 0, without loss of digits on either side of -log 2 (Maechler 2012).

    The branch not taken is computed at -log 2, so that its gradient is finite.
    """
    half = -math.log(2)
    near, far = x.clamp(min=half), x.clamp(max=half)
    return torch.where(x > half, (-torch.expm1(near)).log(), torch.log1p(-far.exp()))


def _cross_entropy(logit: Tensor, likely: Tensor | float) -> Tensor:
    return -likely * F.logsigmoid(logit) - (1 - likely) * F.logsigmoid(-logit)

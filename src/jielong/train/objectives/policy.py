"""Objectives of reinforcement learning: the clipped policy gradient, the critic's error, and a text loss beside them."""
# B rows, T columns, N trained positions of a micro-batch.

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor

from jielong.config import at_least, later
from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.losses import Loss
from jielong.model.config import ModelConfig
from jielong.model.transformer import ScalarModel
from jielong.train.objectives.logprobs import trained_logprobs, trained_positions
from jielong.train.objectives.next_token import NextToken
from jielong.train.objectives.objective import Objective, ObjectiveConfig
from jielong.train.roles import Modules
from jielong.train.sources import RowsConfig

Aggregation = Literal["dapo", "grpo", "dr_grpo"]
RatioKind = Literal["token", "sequence", "product"]
PolicyLoss = Literal["clip", "cispo", "likelihood"]
KLForm = Literal["none", "k2", "k3"]

LARGEST_RATIO = 5.0


@dataclass(frozen=True)
class PolicyConfig:
    """Settings of the clipped policy gradient.

    `aggregation`: "dapo" is the mean over all tokens of the step (PPO's too), "grpo" the mean per sequence and then over
    sequences, "dr_grpo" the sum divided by sequences * the longest a sample may be (its advantages also want
    `divide_by_std` false in the rollouts). `clip_high` 0.28 is DAPO's. `mismatch_cap` bounds the weight
    exp(logp_trainer - logp_engine) of a token that another program has drawn; 0 leaves it out.
    `ratio`: "token" is the token's own p / p_old; of a whole sample "sequence" is their geometric mean (GSPO), "product"
    their product, the ratio of the samples' probabilities (RLOO). `loss`: "clip" is PPO's surrogate; "cispo" keeps every
    token's gradient and bounds its weight alone: `largest_ratio` is that bound itself, where `clip_high` is a distance
    from 1. "likelihood" has no ratio: samples are learned as examples, times their advantages.
    `loss_kl` adds an estimate of KL(policy, reference) per token to the loss. Both have a biased gradient (on a space of
    256 sequences the optimum is missed by a total variation of 0.14 to 0.16); they are here to compare with. The KL
    penalty proper is in the reward, see `advantages.kl_penalised_rewards`.
    """

    clip_low: float = 0.2
    """How much less likely than in the rollout a token may be made, as a share."""
    clip_high: float = 0.2
    """How much likelier; 0.28 is DAPO's."""
    aggregation: Aggregation = "dapo"
    mismatch_cap: float = 2.0
    loss_kl: KLForm = "none"
    loss_kl_coefficient: float = 0.0
    """The weight of `loss_kl` in the loss."""
    ratio: RatioKind = later("token")
    loss: PolicyLoss = later("clip")
    largest_ratio: float = later(LARGEST_RATIO)
    """cispo: the largest weight p / p_old of a token, above 1."""

    def __post_init__(self) -> None:
        if str(self.loss_kl) == "k1":
            raise ConfigError(
                "loss_kl is 'k1', whose gradient is zero on average: it would not hold the policy; use the KL in the "
                "reward (rollouts.kl_coefficient), or 'k3' in the loss"
            )
        choices: dict[str, tuple[object, tuple[str, ...]]] = {
            "loss_kl": (self.loss_kl, get_args(KLForm)),
            "aggregation": (self.aggregation, get_args(Aggregation)),
            "ratio": (self.ratio, get_args(RatioKind)),
            "loss": (self.loss, get_args(PolicyLoss)),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if not 0 < self.clip_low < 1 or self.clip_high <= 0:
            raise ConfigError(f"clip_low {self.clip_low} must lie in (0, 1), clip_high {self.clip_high} above 0")
        if self.largest_ratio <= 1:
            raise ConfigError(
                f"largest_ratio is {self.largest_ratio}; the ratio itself is bounded, so it must be above 1"
            )
        if self.largest_ratio != LARGEST_RATIO and self.loss != "cispo":
            raise ConfigError(f"largest_ratio {self.largest_ratio} is cispo's; loss {self.loss!r} has clip_high")
        if self.ratio != "token" and self.loss != "clip":
            raise ConfigError(f"loss {self.loss!r} goes token by token; ratio is {self.ratio!r}, expected 'token'")
        if self.ratio != "token" and self.aggregation != "grpo":
            raise ConfigError(
                f"ratio {self.ratio!r} is one number a sample, and aggregation {self.aggregation!r} counts long samples "
                f"more; expected 'grpo', the mean over samples"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest ratio beyond which a token's weight does not grow."""
        known = {"cispo": (0.0, self.largest_ratio), "likelihood": (0.0, math.inf)}
        return known.get(self.loss, (1 - self.clip_low, 1 + self.clip_high))


def clipped_surrogate(logratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Return -min(ratio * A, clip(ratio, 1 - low, 1 + high) * A) elementwise (Schulman et al. 2017, eq. 7)."""
    ratio = logratio.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def cispo(logprobs: Tensor, logratio: Tensor, advantages: Tensor, largest_ratio: float) -> Tensor:
    """Return -min(ratio, largest_ratio) * A * logp elementwise, the weight without a gradient (MiniMax 2025, eq. 4)."""
    return -logratio.detach().exp().clamp(max=largest_ratio) * advantages * logprobs


def of_whole_samples(values: Tensor, rows: Tensor, num_rows: int, kind: RatioKind) -> Tensor:
    """Return for each of N values in rows of samples the mean ("sequence") or sum ("product") of its row's, (N,).

    Of log-ratios the mean is GSPO's sequence ratio (Zheng et al. 2025, eq. 7), the sum the ratio of whole samples.
    """
    if kind == "token":
        return values
    sums = values.new_zeros(num_rows).index_add(0, rows, values)
    if kind == "sequence":
        sums = sums / values.new_zeros(num_rows).index_add(0, rows, torch.ones_like(values)).clamp(min=1.0)
    return sums[rows]


def kl_estimate(logprobs: Tensor, reference: Tensor, form: Literal["k1", "k2", "k3"]) -> Tensor:
    """Return per-token estimates of KL(policy, reference) on tokens drawn from the policy, in nats.

    With d = logp - logp_ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d (Schulman 2020, "Approximating KL divergence").
    """
    d = logprobs - reference
    if form == "k1":
        return d
    return d.square() / 2 if form == "k2" else torch.expm1(-d) + d


class PolicyGradient:
    """The clipped surrogate over the tokens that the policy wrote: PPO's actor, and GRPO with group advantages.

    `Batch.extra`, (B, T): "advantages", "old_logprobs" (of the trainer's policy at the rollout), "engine_logprobs" and
    "ref_logprobs"; numbers: "temperature" of sampling, which divides the logits here too, and "max_tokens".

    Metrics: "clipped" (share of tokens that give no gradient, or of cispo a bounded one), "shift" (k3 of policy and old
    policy: how far the update has gone, nats per token), "kl_now" (k1 to the reference, nats per token).
    """

    def __init__(self, config: PolicyConfig = PolicyConfig(), module: str = "policy") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        """Return the divisor that the aggregation names: tokens, sequences, or sequences times the longest."""
        if self.config.aggregation == "dapo":
            return {"policy": float(batch.weights.sum())}
        num_rows = float((batch.weights != 0).any(dim=1).sum())
        longest = float(batch.extra["max_tokens"]) if self.config.aggregation == "dr_grpo" else 1.0
        return {"policy": num_rows * longest}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        config = self.config
        trained = trained_positions(batch)
        logprobs = trained_logprobs(modules[self.module], batch, float(batch.extra["temperature"]))
        streams = {
            n: batch.extra[n][trained] for n in ("advantages", "old_logprobs", "engine_logprobs", "ref_logprobs")
        }
        advantages, old = streams["advantages"], streams["old_logprobs"]
        logratio = of_whole_samples(logprobs - old, trained[0], batch.num_rows, config.ratio)
        if config.loss == "likelihood":
            losses = -advantages * logprobs
        elif config.loss == "cispo":
            losses = cispo(logprobs, logratio, advantages, config.largest_ratio)
        else:
            losses = clipped_surrogate(logratio, advantages, config.clip_low, config.clip_high)
        if config.mismatch_cap:
            gap = of_whole_samples(old - streams["engine_logprobs"], trained[0], batch.num_rows, config.ratio)
            losses = losses * gap.exp().clamp(max=config.mismatch_cap)
        if config.loss_kl != "none":
            losses = losses + config.loss_kl_coefficient * kl_estimate(
                logprobs, streams["ref_logprobs"], config.loss_kl
            )
        weights = batch.weights[trained]
        if config.aggregation == "grpo":
            per_row = batch.weights.sum(dim=1, keepdim=True).expand_as(batch.weights)[trained]
            total = (losses * weights / per_row).sum()
        else:
            total = (losses * weights).sum()
        weight = total.new_tensor(self.weights(batch)["policy"])
        with torch.no_grad():
            ratio, (smallest, largest) = logratio.exp(), config.bounds
            is_clipped = torch.where(advantages > 0, ratio > largest, ratio < smallest)
            metrics = {
                "clipped": (is_clipped & (advantages != 0)).float(),
                "shift": kl_estimate(old, logprobs, "k3"),
                "kl_now": kl_estimate(logprobs, streams["ref_logprobs"], "k1"),
            }
            sums = {n: ((value * weights).sum(), weights.sum()) for n, value in metrics.items()}
        return Loss({"policy": (total, weight)}, sums)


# Critic ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ValueConfig:
    """`clip` bounds how far a value moves from the rollout's (in reward units, 0 is off)."""

    clip: float = 0.2
    coefficient: float = 0.1
    """The weight of the critic's loss."""


class ValueLoss:
    """coefficient * 0.5 * max((v - R)^2, (clip(v, old +- clip) - R)^2) over the policy's tokens.

    `Batch.extra`, (B, T): "returns", "old_values". Metric "value_error": mean squared error, in
    reward units squared.
    """

    def __init__(self, config: ValueConfig = ValueConfig(), module: str = "critic") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"value": float(batch.weights.sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        trained = trained_positions(batch)
        critic = cast(ScalarModel, modules[self.module])
        values = critic(batch.inputs, batch.positions, batch.segments)[trained]
        returns, old = batch.extra["returns"][trained], batch.extra["old_values"][trained]
        error = (values - returns).square()
        worst = error
        if self.config.clip:
            clipped = old + (values - old).clamp(-self.config.clip, self.config.clip)
            worst = torch.maximum(error, (clipped - returns).square())
        weights = batch.weights[trained]
        total = self.config.coefficient * 0.5 * (worst * weights).sum()
        metrics = {"value_error": ((error.detach() * weights).sum(), weights.sum())}
        return Loss({"value": (total, weights.sum())}, metrics)


@dataclass(frozen=True)
class PTXConfig:
    """`rows` packed rows of `length` tokens of instruction chats in every step, their mean loss times `coefficient`."""

    coefficient: float = 0.0
    """The weight of the loss on instruction chats beside the policy's; 0 leaves them out."""
    rows: int = 8
    """Rows of chats in every step."""
    length: int = 256
    """Tokens of such a row."""

    def __post_init__(self) -> None:
        at_least(self, 0, "coefficient")
        at_least(self, 2, "rows", "length")


@dataclass(frozen=True)
class PPOConfig(ObjectiveConfig):
    """Actor and critic of one PPO stage, and the text that keeps the actor from forgetting (`ptx`, off by default)."""

    takes_adapter: ClassVar[bool] = True

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    ptx: PTXConfig = field(default_factory=PTXConfig)

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> Objective:
        """Build policy and critic, or the policy alone for GRPO, with the text loss beside it where it has weight."""
        policy = PPO(self) if "critic" in roles else PolicyGradient(self.policy, self.main)
        return WithText(policy, self.ptx.coefficient) if self.ptx.coefficient else policy

    def check(self, roles: Collection[str]) -> None:
        if "critic" in roles:
            PPO(self)

    def beside(self) -> RowsConfig | None:
        return RowsConfig(self.ptx.length, self.ptx.rows, self.ptx.rows) if self.ptx.coefficient else None


class PPO:
    """Policy and critic together (Schulman et al. 2017); each module has its own optimizer, so neither scales the other."""

    def __init__(self, config: PPOConfig = PPOConfig()) -> None:
        if config.policy.ratio != "token":
            raise ConfigError(
                f"ratio is {config.policy.ratio!r}, one number a sample, and a critic's advantages differ from token to "
                f"token; expected 'token', or a rollout algorithm without a critic (grpo, rloo)"
            )
        self.policy, self.value = PolicyGradient(config.policy), ValueLoss(config.value)

    def weights(self, batch: Batch) -> dict[str, float]:
        return self.policy.weights(batch) | self.value.weights(batch)

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        policy, value = self.policy(modules, batch), self.value(modules, batch)
        return Loss({**policy.terms, **value.terms}, {**policy.metrics, **value.metrics})


class WithText:
    """A policy gradient, and the cross-entropy of text beside it: PPO-ptx (Ouyang et al. 2022, eq. 2).

    Reinforcement moves whatever shares weights with what it rewards; the text holds the rest in place. Micro-batches with
    "advantages" go to `policy`, the others are text. Term "ptx": nats per trained token times `coefficient`.
    Metric "ptx_accuracy": how often the text's next token is the most likely one.
    """

    def __init__(self, policy: PolicyGradient | PPO, coefficient: float) -> None:
        self.policy, self.text, self.coefficient = policy, NextToken(), coefficient

    def weights(self, batch: Batch) -> dict[str, float]:
        if "advantages" in batch.extra:
            return self.policy.weights(batch)
        return {"ptx": self.text.weights(batch)["loss"]}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        if "advantages" in batch.extra:
            return self.policy(modules, batch)
        loss = self.text(modules, batch)
        total, weight = loss.terms["loss"]
        return Loss({"ptx": (self.coefficient * total, weight)}, {"ptx_accuracy": loss.metrics["accuracy"]})

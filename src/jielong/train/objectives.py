"""What is to become small: next tokens, preferences, the clipped policy gradient, and the critic's error.

An objective is handed the modules by name ("policy", "critic", "reward") and one micro-batch; it returns sums and weights,
never a mean, so that the loop can divide over the whole step and all ranks. Weights depend on the batch alone. Column t
of every stream speaks about predicting `targets[:, t]`, and whatever stands where the weight is 0 is never looked at: a NaN
there does no harm. The head, which is the larger part of a small model's work, is computed at trained positions only.
"""
# B rows, T columns, N trained positions of a micro-batch, C hidden width, V vocabulary, P pairs.

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jielong.config import at_least
from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.losses import Loss, masked_sum, token_logprobs
from jielong.model.transformer import LanguageModel, ScalarModel
from jielong.native.cross_entropy import add_, cross_entropy_
from jielong.train.balance import imbalance, router_scores

Modules = Mapping[str, nn.Module]

CHUNK_TOKENS, GPU_CHUNK_TOKENS = 512, 4096
"""Positions whose logits exist at one time. 512 was the fastest of 128..4096 on a CPU at V = 4096, in bf16 and float32.

A GPU wants large products; 4096 by 50,000 logits in bf16 are 400 MB."""


# Log-probabilities -------------------------------------------------------------------------------------------------


class _NegativeLogLikelihood(torch.autograd.Function):
    """sum of -log softmax(h W^T)[target] * weight over N positions, and how many are the argmax's; in the dtype of h.

    The gradients are made in the forward pass, chunk by chunk, so that no (N, V) tensor outlives its chunk and no logit
    is computed twice. They are scaled by the incoming gradient afterwards, which is one number.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NC: Tensor, head: Tensor, targets: Tensor, weights: Tensor, is_compiled: bool
    ) -> tuple[Tensor, Tensor]:
        head_VC = head.to(hidden_NC.dtype)
        has_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        total = torch.zeros((), device=hidden_NC.device)
        num_right = torch.zeros((), device=hidden_NC.device)
        grad_hidden = torch.empty_like(hidden_NC) if has_gradient else None
        grad_head = torch.zeros(head_VC.shape, device=head_VC.device) if ctx.needs_input_grad[1] else None
        is_on_cpu = hidden_NC.device.type == "cpu"  # where the C++ does what a compiler would
        cross_entropy = compiled_cross_entropy() if is_compiled and not is_on_cpu else _cross_entropy
        size = CHUNK_TOKENS if is_on_cpu else GPU_CHUNK_TOKENS
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = hidden_NC[part] @ head_VC.T
            losses, are_right = cross_entropy(logits, targets[part], weights[part], has_gradient)
            total += (losses * weights[part]).sum()
            num_right += (are_right * weights[part]).sum()
            if grad_hidden is not None:
                torch.mm(logits, head_VC, out=grad_hidden[part])
            if grad_head is not None:
                add_(grad_head, logits.T @ hidden_NC[part])
        if grad_hidden is not None:
            ctx.save_for_backward(grad_hidden, None if grad_head is None else grad_head.to(head.dtype))
        ctx.mark_non_differentiable(num_right)
        return total, num_right

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        # in place: of a large vocabulary a second one would cost as much time as the products of a layer
        return grad_hidden * grad_total, None if grad_head is None else grad_head.mul_(grad_total), None, None, None


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, has_gradient: bool) -> tuple[Tensor, Tensor]:
    """-log softmax at the targets of rows (N, V), float32, and whether the targets are the largest.

    With `has_gradient` the logits become the gradients of weight times the former. Float32 within: bf16 loses the tail of
    the vocabulary.
    """
    found = cross_entropy_(logits, targets, weights, has_gradient)
    if found is not None:
        return found
    target, weight = targets[:, None], weights[:, None]
    scores = logits.float()
    largest, right = scores.amax(-1, keepdim=True), scores.gather(1, target)
    exponentials = (scores - largest).exp_()
    norm = exponentials.sum(-1, keepdim=True)
    if has_gradient:
        gradients = exponentials.mul_(weight / norm)
        logits.copy_(gradients.scatter_(1, target, gradients.gather(1, target) - weight))
    return (norm.log() + largest - right)[:, 0], (right == largest)[:, 0]


def fusible_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, has_gradient: bool
) -> tuple[Tensor, Tensor]:
    """`_cross_entropy` as a compiler likes it: nothing is scattered, so that logits are read twice and written once."""
    scores = logits.float()
    right, largest, norm = scores.gather(1, targets[:, None])[:, 0], scores.amax(-1), scores.logsumexp(-1)
    if has_gradient:
        is_target = (torch.arange(logits.shape[1], device=logits.device) == targets[:, None]).float()
        logits.copy_(((scores - norm[:, None]).exp() - is_target) * weights[:, None])
    return norm - right, right == largest


@functools.cache
def compiled_cross_entropy() -> Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """`fusible_cross_entropy` in kernels made for this device."""
    return torch.compile(fusible_cross_entropy)


@torch.no_grad()
def cross_entropy_like_plain(model: LanguageModel) -> bool:
    """Whether the compiled cross-entropy of the model's vocabulary is the plain one here, within rounding; gradients too."""
    generator = torch.Generator().manual_seed(0)
    shape, device, dtype = (64, model.config.vocab_size), model.head.device, model.model.compute_dtype
    logits = (4 * torch.randn(shape, generator=generator)).to(device, dtype)
    targets = torch.randint(0, shape[1], shape[:1], generator=generator).to(device)
    weights = torch.rand(shape[0], generator=generator).to(device)
    plain, compiled = logits.clone(), logits
    losses, _ = _cross_entropy(plain, targets, weights, True)
    found, _ = compiled_cross_entropy()(compiled, targets, weights, True)
    return torch.allclose(found, losses, rtol=1e-4, atol=1e-4) and bool(
        (compiled.float() - plain.float()).norm() <= 0.01 * plain.float().norm()
    )


def trained_logprobs(model: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Log-probabilities (N,) float32 of the targets whose weight is not 0, in row order, at a sampling temperature.

    `model` gives hidden states and has `logits`; with many positions these are recomputed in the backward pass.
    """
    language_model = cast(LanguageModel, model)
    trained = _trained(batch)
    hidden_NC = language_model(batch.inputs, batch.positions, batch.segments)[trained]
    targets = batch.targets[trained]

    def logprobs(hidden: Tensor, target: Tensor) -> Tensor:
        logits = language_model.logits(hidden)
        return token_logprobs(logits if temperature == 1.0 else logits.float() / temperature, target)

    if len(targets) <= 4 * CHUNK_TOKENS or not torch.is_grad_enabled():
        parts = [logprobs(*part) for part in _chunks(hidden_NC, targets)]
    else:
        parts = [checkpoint(logprobs, *part, use_reentrant=False) for part in _chunks(hidden_NC, targets)]
    return torch.cat(parts)


def _trained(batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows and columns of the positions whose weight is not 0.

    A GPU is waited for to know how many: asked before the model runs, it has only the micro-batch before to end.
    """
    rows, columns = (batch.weights != 0).nonzero(as_tuple=True)
    return rows, columns


def _chunks(hidden_NC: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(hidden_NC.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True))


# Next token --------------------------------------------------------------------------------------------------------


class NextToken:
    """Cross-entropy of the next token: pretraining, and instruction tuning where only answers have weight.

    Term "loss": nats per trained token. Metric "accuracy": how often the target is the most likely token.
    With `balance` above 0, for a model with experts, also the term "balance": that times the mean over layers of
    `balance.imbalance`, which is told as a metric. It is that of each micro-batch, over all tokens that are no padding:
    a product of means is no sum, so here the size of a micro-batch shows. `is_compiled` matters on GPUs
    alone.
    """

    def __init__(self, module: str = "policy", balance: float = 0.0, is_compiled: bool = False) -> None:
        self.module, self.balance, self.is_compiled = module, balance, is_compiled

    def weights(self, batch: Batch) -> dict[str, float]:
        weights = {"loss": float(batch.weights.sum())}
        return weights | {"balance": float((batch.segments > 0).sum())} if self.balance else weights

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        model = cast(LanguageModel, modules[self.module])
        trained = _trained(batch)
        if self.balance:
            with router_scores(model) as scores:
                hidden_BTC = model(batch.inputs, batch.positions, batch.segments)
        else:
            hidden_BTC = model(batch.inputs, batch.positions, batch.segments)
        hidden_NC = hidden_BTC.to(model.model.compute_dtype)[trained]
        total, num_right = _NegativeLogLikelihood.apply(
            hidden_NC, model.head, batch.targets[trained], batch.weights[trained], self.is_compiled
        )
        weight = batch.weights.sum()
        terms, metrics = {"loss": (total, weight)}, {"accuracy": (num_right, weight)}
        if self.balance:
            is_real = (batch.segments > 0).float().flatten()
            layers = [imbalance(scores_NE, model.config.num_experts_per_tok, is_real) for scores_NE in scores]
            uneven = torch.stack(layers).mean() * is_real.sum()
            terms["balance"] = (self.balance * uneven, is_real.sum())
            metrics["imbalance"] = (uneven.detach(), is_real.sum())
        return Loss(terms, metrics)


# Preferences -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BradleyTerryConfig:
    """`label_smoothing` is the share of comparisons taken to be wrong; `centre` keeps the pair's scores around 0."""

    label_smoothing: float = 0.0
    centre: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must lie in [0, 0.5)")


class BradleyTerry:
    """-log sigmoid(r_chosen - r_rejected - margin) + centre * (r_chosen + r_rejected)^2 over pairs.

    Bradley and Terry 1952; a label between 0 and 1 mixes both directions (a tie is 0.5). Batches are those of
    `PaddedPairs`: rows 2i and 2i + 1 are a pair, scores are read at the last real token.
    Metrics: "accuracy" over pairs that are no tie, "gap" the mean of r_chosen - r_rejected.
    """

    def __init__(self, config: BradleyTerryConfig = BradleyTerryConfig(), module: str = "reward") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"].sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        scores_BT = modules[self.module](batch.inputs, batch.positions, batch.segments)
        scores = scores_BT.gather(1, batch.last[:, None])[:, 0]
        chosen, rejected = scores[0::2], scores[1::2]
        label, weight = batch.extra["label"], batch.extra["weight"]
        smoothing = self.config.label_smoothing
        likely = label * (1 - smoothing) + (1 - label) * smoothing
        logit = chosen - rejected - batch.extra["margin"]
        loss = -likely * F.logsigmoid(logit) - (1 - likely) * F.logsigmoid(-logit)
        loss = loss + self.config.centre * (chosen + rejected).square()
        decided = weight * (label != 0.5)
        gap = (chosen - rejected).detach()
        metrics = {
            "accuracy": (masked_sum(((gap > 0) == (label > 0.5)).float(), decided), decided.sum()),
            "gap": (masked_sum(gap, weight), weight.sum()),
        }
        return Loss({"loss": (masked_sum(loss, weight), weight.sum())}, metrics)


# Policy gradient ---------------------------------------------------------------------------------------------------

Aggregation = Literal["dapo", "grpo", "dr_grpo"]


@dataclass(frozen=True)
class PolicyConfig:
    """How the clipped policy gradient is made.

    `aggregation`: "dapo" is the mean over all tokens of the step (PPO's too), "grpo" the mean per sequence and then over
    sequences, "dr_grpo" the sum divided by sequences * the longest a sample may be (its advantages also want
    `divide_by_std` false in the rollouts). `clip_high` 0.28 is DAPO's. `mismatch_cap` bounds the weight
    exp(logp_trainer - logp_engine) of a token that another program has drawn; 0 leaves it out.
    `loss_kl` adds an estimate of KL(policy, reference) per token to the loss. Both have a biased gradient (on a space of
    256 sequences the optimum is missed by a total variation of 0.14 to 0.16); they are here to compare with. The KL
    penalty proper is in the reward, see `advantages.kl_penalised_rewards`.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    aggregation: Aggregation = "dapo"
    mismatch_cap: float = 2.0
    loss_kl: Literal["none", "k2", "k3"] = "none"
    loss_kl_coefficient: float = 0.0

    def __post_init__(self) -> None:
        if str(self.loss_kl) == "k1":
            raise ConfigError(
                "loss_kl is 'k1', whose gradient is zero on average: it would not hold the policy; use the KL in the "
                "reward (rollouts.kl_coefficient), or 'k3' in the loss"
            )
        choices: dict[str, tuple[object, tuple[str, ...]]] = {
            "loss_kl": (self.loss_kl, ("none", "k2", "k3")),
            "aggregation": (self.aggregation, ("dapo", "grpo", "dr_grpo")),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if not 0 < self.clip_low < 1 or self.clip_high <= 0:
            raise ConfigError(f"clip_low {self.clip_low} must lie in (0, 1), clip_high {self.clip_high} above 0")


def clipped_surrogate(logratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(ratio * A, clip(ratio, 1 - low, 1 + high) * A) elementwise (Schulman et al. 2017, eq. 7)."""
    ratio = logratio.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def kl_estimate(logprobs: Tensor, reference: Tensor, form: Literal["k1", "k2", "k3"]) -> Tensor:
    """Per-token estimates of KL(policy, reference) on tokens drawn from the policy, in nats.

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

    Metrics: "clipped" (share of tokens that give no gradient), "shift" (k3 of policy and old policy: how far the update
    has gone, nats per token), "kl_now" (k1 to the reference, nats per token).
    """

    def __init__(self, config: PolicyConfig = PolicyConfig(), module: str = "policy") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        if self.config.aggregation == "dapo":
            return {"policy": float(batch.weights.sum())}
        num_rows = float((batch.weights != 0).any(dim=1).sum())
        longest = float(batch.extra["max_tokens"]) if self.config.aggregation == "dr_grpo" else 1.0
        return {"policy": num_rows * longest}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        config = self.config
        trained = _trained(batch)
        logprobs = trained_logprobs(modules[self.module], batch, float(batch.extra["temperature"]))
        streams = {
            n: batch.extra[n][trained] for n in ("advantages", "old_logprobs", "engine_logprobs", "ref_logprobs")
        }
        advantages, old = streams["advantages"], streams["old_logprobs"]
        logratio = logprobs - old
        losses = clipped_surrogate(logratio, advantages, config.clip_low, config.clip_high)
        if config.mismatch_cap:
            losses = losses * (old - streams["engine_logprobs"]).exp().clamp(max=config.mismatch_cap)
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
            ratio = logratio.exp()
            is_clipped = torch.where(advantages > 0, ratio > 1 + config.clip_high, ratio < 1 - config.clip_low)
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
        trained = _trained(batch)
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
    rows: int = 8
    length: int = 256

    def __post_init__(self) -> None:
        at_least(self, 0, "coefficient")
        at_least(self, 2, "rows", "length")


@dataclass(frozen=True)
class PPOConfig:
    """Actor and critic of one PPO stage, and the text that keeps the actor from forgetting (`ptx`, off by default)."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    ptx: PTXConfig = field(default_factory=PTXConfig)


class PPO:
    """Policy and critic together (Schulman et al. 2017); each module has its own optimizer, so neither scales the other."""

    def __init__(self, config: PPOConfig = PPOConfig()) -> None:
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

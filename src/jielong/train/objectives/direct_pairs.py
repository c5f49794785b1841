"""DPO, cDPO, IPO, SimPO and ORPO as objectives: a policy learns from pairs which answers to make likelier."""
# P pairs of a micro-batch.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from jielong.config import above, at_least
from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.losses import Loss
from jielong.model.config import ModelConfig
from jielong.train.objectives.direct import PairLosses, dpo, ipo, orpo, simpo
from jielong.train.objectives.logprobs import sequence_logprobs
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.roles import Modules


@dataclass(frozen=True)
class Pairs:
    """Log-probabilities of answers, and their lengths in tokens, all (P, 2): chosen and rejected.

    `reference` are those of before training, where the method asks for it; `label` (P,) says how likely `chosen` is
    better.
    """

    logprobs: Tensor
    num_tokens: Tensor
    label: Tensor
    reference: Tensor | None = None

    def mean_logprobs(self) -> tuple[Tensor, Tensor]:
        """Return the log-probability per token of both answers, (P,) each."""
        chosen, rejected = (self.logprobs / self.num_tokens.clamp(min=1)).unbind(1)
        return chosen, rejected


class PairConfig(ObjectiveConfig):
    """The common base of all methods on pairs; each computes the loss of a pair."""

    takes_adapter: ClassVar[bool] = True

    def losses(self, pairs: Pairs) -> PairLosses:
        """Return the loss of every pair, and the implied rewards."""
        raise NotImplementedError

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> FromPairs:
        return FromPairs(self, self.main)


@dataclass(frozen=True)
class DPOConfig(PairConfig):
    """Direct preference optimisation; conservative where some labels are taken to be wrong."""

    beta: float = 0.1
    """How strongly the policy is held to where it began: a reward is beta times the log-ratio."""
    label_smoothing: float = 0.0
    """The share of comparisons taken to be wrong; above 0 this is cDPO."""
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        above(self, 0, "beta")
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must lie in [0, 0.5)")

    def losses(self, pairs: Pairs) -> PairLosses:
        assert pairs.reference is not None
        sides = (*pairs.logprobs.unbind(1), *pairs.reference.unbind(1))
        return dpo(*sides, beta=self.beta, label_smoothing=self.label_smoothing, label=pairs.label)


@dataclass(frozen=True)
class IPOConfig(PairConfig):
    """Identity preference optimisation: the gap of log-ratios is drawn to a fixed size, and no further."""

    beta: float = 0.1
    """The gap is drawn to 1 / (2 beta)."""
    over: Literal["sum", "mean"] = "sum"
    """Whether log-ratios are those of whole answers, as in the paper, or means per token."""
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        above(self, 0, "beta")
        if self.over not in ("sum", "mean"):
            raise ConfigError(f"over is {self.over!r}; expected 'sum' or 'mean'")

    def losses(self, pairs: Pairs) -> PairLosses:
        """Return IPO's losses, of whole answers or of means per token."""
        assert pairs.reference is not None
        size = pairs.num_tokens.clamp(min=1) if self.over == "mean" else 1
        sides = (*(pairs.logprobs / size).unbind(1), *(pairs.reference / size).unbind(1))
        return ipo(*sides, beta=self.beta, label=pairs.label)


@dataclass(frozen=True)
class SimPOConfig(PairConfig):
    """Simple preference optimisation: log-probability per token as the reward, and no reference."""

    beta: float = 2.0
    """How much a nat per token is worth."""
    gamma: float = 1.0
    """By how much the chosen answer's reward is to be higher."""

    def __post_init__(self) -> None:
        above(self, 0, "beta")
        at_least(self, 0, "gamma")

    def losses(self, pairs: Pairs) -> PairLosses:
        return simpo(*pairs.mean_logprobs(), beta=self.beta, gamma=self.gamma, label=pairs.label)


@dataclass(frozen=True)
class ORPOConfig(PairConfig):
    """Instruction tuning on the chosen answers, and beside it the odds of chosen against rejected ones."""

    weight: float = 0.1
    """What the odds weigh beside the tuning."""

    def __post_init__(self) -> None:
        at_least(self, 0, "weight")

    def losses(self, pairs: Pairs) -> PairLosses:
        return orpo(*pairs.mean_logprobs(), weight=self.weight, label=pairs.label)


class FromPairs:
    """The objective of a method over pairs: batches are those of `PaddedPairs` or `PackedPairs`.

    Term "loss": per pair. Metrics, over pairs: "accuracy" (the likelier answer has the higher implied reward; pairs
    that are no tie), "margin" (implied reward of chosen minus rejected), "chosen_logprob" and "rejected_logprob" (nats
    per answer): a chosen answer that grows unlikely is the first sign of damage.
    """

    def __init__(self, config: PairConfig, module: str = "policy") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"].sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        if self.config.needs_reference and "ref_logprobs" not in batch.extra:
            raise ConfigError(
                f"{type(self.config).__name__} compares with how likely answers were before training, and the batch does "
                f"not say it; build the source with Given.reference"
            )
        sums, counts = sequence_logprobs(modules[self.module], batch)
        # pairs that fill up a micro-batch have no tokens: log odds of nothing would be infinite
        is_real = batch.extra["weight"] != 0
        logprobs, num_tokens = sums.view(-1, 2)[is_real], counts.view(-1, 2)[is_real]
        reference = batch.extra["ref_logprobs"][is_real] if "ref_logprobs" in batch.extra else None
        label, weight = batch.extra["label"][is_real], batch.extra["weight"][is_real]
        made = self.config.losses(Pairs(logprobs, num_tokens, label, reference))
        margin, total = made.chosen_rewards - made.rejected_rewards, weight.sum()
        decided = weight * (label != 0.5)
        chosen, rejected = (logprobs.detach() * weight[:, None]).sum(0).unbind()
        is_right = (margin * (label - 0.5) > 0).float()
        metrics = {
            "accuracy": ((is_right * decided).sum(), decided.sum()),
            "margin": ((margin * weight).sum(), total),
            "chosen_logprob": (chosen, total),
            "rejected_logprob": (rejected, total),
        }
        return Loss({"loss": ((made.losses * weight).sum(), total)}, metrics)

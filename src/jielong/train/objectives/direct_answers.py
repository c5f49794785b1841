"""KTO as an objective: a policy learns from single answers, each marked as desirable or not."""
# N answers of a micro-batch.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from jielong.config import above, at_least
from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.losses import Loss, masked_sum
from jielong.model.config import ModelConfig
from jielong.train.objectives.direct import kto
from jielong.train.objectives.logprobs import sequence_logprobs
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.roles import Modules


@dataclass(frozen=True)
class KTOConfig(ObjectiveConfig):
    """Kahneman-Tversky optimisation; its source is `AnswersConfig`.

    Where one kind of answer is rarer, the paper's advice is weights that bring desirable_weight * desirable answers to
    between 1 and 4/3 of undesirable_weight * undesirable ones.
    """

    beta: float = 0.1
    """How soon a gain or a loss counts as large, in log-ratios."""
    desirable_weight: float = 1.0
    """What a desirable answer weighs."""
    undesirable_weight: float = 1.0
    """What an undesirable answer weighs."""
    takes_adapter: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        above(self, 0, "beta")
        at_least(self, 0, "desirable_weight", "undesirable_weight")

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> KTO:
        return KTO(self, self.main)


class KTO:
    """KTO's loss over answers: batches are those of `PaddedAnswers` or `PackedAnswers`, with the step's "baseline".

    Term "loss": per answer. Metrics: "accuracy" (the reward of an answer lies on its side of the baseline's), "margin" (by
    how much it does, in reward units), "baseline" (z, nats), "chosen_logprob" and "rejected_logprob" (nats per desirable
    and per undesirable answer).
    """

    def __init__(self, config: KTOConfig = KTOConfig(), module: str = "policy") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"].sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        missing = [name for name in ("baseline", "ref_logprobs") if name not in batch.extra]
        if missing:
            raise ConfigError(f"KTO's batches need {' and '.join(missing)}; their source is AnswersConfig")
        config, weight = self.config, batch.extra["weight"]
        is_desirable, baseline = batch.extra["is_desirable"], batch.extra["baseline"]
        logprobs, _ = sequence_logprobs(modules[self.module], batch)
        logratio = logprobs - batch.extra["ref_logprobs"]
        losses = kto(
            logratio,
            is_desirable,
            baseline,
            beta=config.beta,
            desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
        )
        total = weight.sum()
        gain = config.beta * (logratio.detach() - baseline) * (is_desirable.float() * 2 - 1)
        liked, disliked = weight * is_desirable, weight * ~is_desirable
        metrics = {
            "accuracy": (masked_sum((gain > 0).float(), weight), total),
            "margin": (masked_sum(gain, weight), total),
            "baseline": (baseline * total, total),
            "chosen_logprob": (masked_sum(logprobs.detach(), liked), liked.sum()),
            "rejected_logprob": (masked_sum(logprobs.detach(), disliked), disliked.sum()),
        }
        return Loss({"loss": (masked_sum(losses, weight), total)}, metrics)

"""An objective of a new kind, in one file: the model learns to say the token that it has just read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from jielong.data.batches import Batch
from jielong.losses import Loss
from jielong.model.config import ModelConfig
from jielong.train.objectives.next_token import NextToken
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.roles import Modules


@dataclass(frozen=True)
class CopyConfig(ObjectiveConfig):
    """`strength` multiplies the loss."""

    strength: float = 1.0

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> Copy:
        return Copy(self.strength)


class Copy:
    """Cross-entropy of each token at its own place, times `strength`."""

    def __init__(self, strength: float) -> None:
        self.strength, self.inner = strength, NextToken()

    def weights(self, batch: Batch) -> dict[str, float]:
        return self.inner.weights(batch)

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        loss = self.inner(modules, replace(batch, targets=batch.inputs))
        total, weight = loss.terms["loss"]
        return Loss({"loss": (self.strength * total, weight)}, loss.metrics)

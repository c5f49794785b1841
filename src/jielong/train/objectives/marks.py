"""Marks as an objective: a scalar model learns from single answers how good each is, without comparisons."""
# N answers of a micro-batch.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from jielong.data.batches import Batch
from jielong.losses import Loss, masked_sum
from jielong.model.config import ModelConfig
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.roles import Head, Modules


def marked(scores: Tensor, marks: Tensor) -> Tensor:
    """Return -m log sigmoid(s) - (1 - m) log sigmoid(-s), shaped as `scores`: logistic regression on marks m from 0 to
    1.

    A score is the log odds of a good mark, so its best value for an answer that is marked several times is log(m / (1 -
    m)) of the mean mark. Differences of scores are log odds as in Bradley-Terry; a squared error would bind them to the
    scale of the marks.
    """
    return -marks * F.logsigmoid(scores) - (1 - marks) * F.logsigmoid(-scores)


@dataclass(frozen=True)
class MarkedConfig(ObjectiveConfig):
    """A reward model out of marks; its source is `MarksConfig`. `centre` keeps scores that nothing bounds near 0."""

    centre: float = 0.01
    main: ClassVar[str] = "reward"
    head: ClassVar[Head] = "scalar"

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> Marked:
        return Marked(self, self.main)


class Marked:
    """`marked` plus centre * score^2 over answers: batches are those of `PaddedAnswers` or `PackedAnswers`.

    Term "loss": per answer. Metrics: "accuracy" (the score's sign says whether the mark is above the middle; marks in the
    middle left out), "score" (the mean).
    """

    def __init__(self, config: MarkedConfig = MarkedConfig(), module: str = "reward") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"].sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        scores_BT = modules[self.module](batch.inputs, batch.positions, batch.segments)
        scores = scores_BT.flatten()[batch.ends]
        marks, weight = batch.extra["mark"], batch.extra["weight"]
        losses = marked(scores, marks) + self.config.centre * scores.square()
        found, total = scores.detach(), weight.sum()
        decided = weight * (marks != 0.5)
        metrics = {
            "accuracy": (masked_sum(((found > 0) == (marks > 0.5)).float(), decided), decided.sum()),
            "score": (masked_sum(found, weight), total),
        }
        return Loss({"loss": (masked_sum(losses, weight), total)}, metrics)

"""Comparisons as an objective: a scalar model learns which of two answers people prefer."""
# B rows, T columns, P pairs.

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.losses import Loss, masked_sum
from jielong.model.config import ModelConfig
from jielong.model.transformer import ScalarModel
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.rewards import score_rows
from jielong.train.roles import Head, Modules
from jielong.train.sources import Material


def bradley_terry(
    chosen: Tensor,
    rejected: Tensor,
    *,
    label: Tensor | float = 1.0,
    margin: Tensor | float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -q log sigmoid(d) - (1 - q) log sigmoid(-d) with d = chosen - rejected - margin, shaped as the scores.

    Bradley and Terry 1952. `label` is how likely `chosen` is the better one (a tie is 0.5), and q = label (1 - e) + (1
    - label) e where a share e of labels is taken to be wrong. A margin, such as the gap of two marks, asks the scores
    to be that much further apart (Touvron et al. 2023, arXiv 2307.09288, eq. 2).
    """
    likely = label * (1 - label_smoothing) + (1 - label) * label_smoothing
    logit = chosen - rejected - margin
    return -likely * F.logsigmoid(logit) - (1 - likely) * F.logsigmoid(-logit)


@dataclass(frozen=True)
class BradleyTerryConfig(ObjectiveConfig):
    """`label_smoothing` is the share of comparisons taken to be wrong; `centre` keeps the pair's scores around 0."""

    label_smoothing: float = 0.0
    centre: float = 0.01
    main: ClassVar[str] = "reward"
    head: ClassVar[Head] = "scalar"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must lie in [0, 0.5)")

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> BradleyTerry:
        return BradleyTerry(self, self.main)

    def finish(self, load: Callable[[], nn.Module], material: Material) -> ScalarModel | None:
        """Subtract the mean score of the chosen held-out answers, so that a reference answer has score 0.

        It is idempotent.
        """
        model = load()
        assert isinstance(model, ScalarModel)
        longest = model.config.max_position_embeddings
        chosen = [ids for pair in material.pairs("held_out") if len(ids := pair.chosen.ids) <= longest]
        if not chosen:
            return None
        model.reward_offset = 0.0
        model.reward_offset = float(score_rows(model, chosen).mean())
        return model


class BradleyTerry:
    """`bradley_terry` plus centre * (r_chosen + r_rejected)^2 over pairs.

    Batches are those of
    `PaddedPairs` or `PackedPairs`: sequences 2i and 2i + 1 are a pair, scores are read at their last token.
    Metrics: "accuracy" over pairs that are no tie, "gap" the mean of r_chosen - r_rejected.
    """

    def __init__(self, config: BradleyTerryConfig = BradleyTerryConfig(), module: str = "reward") -> None:
        self.config, self.module = config, module

    def weights(self, batch: Batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"].sum())}

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        scores_BT = modules[self.module](batch.inputs, batch.positions, batch.segments)
        scores = scores_BT.flatten()[batch.ends]
        chosen, rejected = scores[0::2], scores[1::2]
        label, weight = batch.extra["label"], batch.extra["weight"]
        smoothing = self.config.label_smoothing
        loss = bradley_terry(chosen, rejected, label=label, margin=batch.extra["margin"], label_smoothing=smoothing)
        loss = loss + self.config.centre * (chosen + rejected).square()
        decided = weight * (label != 0.5)
        gap = (chosen - rejected).detach()
        metrics = {
            "accuracy": (masked_sum(((gap > 0) == (label > 0.5)).float(), decided), decided.sum()),
            "gap": (masked_sum(gap, weight), weight.sum()),
        }
        return Loss({"loss": (masked_sum(loss, weight), weight.sum())}, metrics)

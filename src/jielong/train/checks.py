"""Validation checks of a training, on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from jielong.data.batches import Batch
from jielong.train.objectives.objective import Objective
from jielong.train.parallel import Ranks
from jielong.train.roles import Modules


def held_out_loss(
    objective: Objective, batches: Sequence[Batch], ranks: Ranks
) -> Callable[[Modules, int], dict[str, float]]:
    """Make a check that computes the objective's loss and accuracy on held-out batches, over all ranks."""

    @torch.no_grad()
    def run(modules: Modules, step: int) -> dict[str, float]:
        """Evaluate all batches without training on them."""
        del step
        device = next(next(iter(modules.values())).parameters()).device
        sums = {"loss": 0.0, "weight": 0.0, "right": 0.0, "decided": 0.0}
        for batch in batches:
            loss = objective(modules, batch.to(device))
            sums["loss"] += float(loss.terms["loss"][0])
            sums["weight"] += objective.weights(batch)["loss"]
            right, decided = loss.metrics["accuracy"]
            sums["right"] += float(right)
            sums["decided"] += float(decided)
        sums = ranks.sum_numbers(sums)
        return {
            "held_out_loss": sums["loss"] / max(sums["weight"], 1e-12),
            "held_out_accuracy": sums["right"] / max(sums["decided"], 1e-12),
        }

    return run

"""The result of an objective: sums and the weights to divide them by, never a mean.

A mean over a micro-batch is wrong the moment micro-batches differ in how many tokens they train on. So each term is a
(sum, weight) pair; weights depend on the batch alone, and the loop divides every term by its weight over the whole step
and all ranks. That one rule makes accumulation, packing, padding and the number of ranks invisible in the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """The terms of a loss, name -> (sum with gradient, weight without), and `metrics` of that form, for the log alone."""

    terms: Mapping[str, tuple[Tensor, Tensor]]
    metrics: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def token_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the natural log-probability of each target, (...,) float32, from logits (..., V) of any dtype.

    The softmax is float32: bf16 loses the tail of the vocabulary.
    """
    flat = -F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), reduction="none")
    return flat.view(targets.shape)


def masked_sum(values: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of values * weights, a scalar, in which a NaN under a zero weight is harmless."""
    return torch.where(weights != 0, values * weights, torch.zeros_like(values)).sum()

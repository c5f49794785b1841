"""The distance of the engine that writes a rollout from the trainer that learns from it, and the bound beyond which it is told.

Both compute the log-probability of every token drawn. In float32 they agree but for rounding. In bfloat16 each rounds in
its own order, so a token counts with the weight exp(logp_trainer - logp_engine), up to a cap (`policy.mismatch_cap`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from jielong.train.parallel import Ranks

MEAN_BOUND = 0.1
"""Nats a token, on average. Rounding in bfloat16 came to 0.002 on the quickstart's model and to 0.034 on one of 30 layers
(log 2026-12-01-engine-trainer), in float32 to less than 0.00001."""

LARGEST_BOUND = 2.0
"""Nats at one token: four times the largest found in bfloat16. The weight would be 7.4, and is cut at the cap of 2."""


def largest_mismatch(trainers: Tensor, engines: Tensor, ranks: Ranks) -> float:
    """Return the largest absolute difference of log-probabilities over all tokens and ranks, nats."""
    return max(ranks.gather(float((trainers - engines).abs().max())))


def mismatch_warning(metrics: Mapping[str, float]) -> str:
    """Return a sentence for metrics of a rollout that are beyond a bound, or ""."""
    mean, largest = metrics.get("mismatch", 0.0), metrics.get("mismatch_largest", 0.0)
    if mean <= MEAN_BOUND and largest <= LARGEST_BOUND:
        return ""
    return (
        f"mismatch: the engine's log-probabilities differ from the trainer's by {mean:.3f} nats a token on average and "
        f"{largest:.2f} at most; the bounds are {MEAN_BOUND:g} and {LARGEST_BOUND:g}. A token counts with the weight "
        "exp(logp_trainer - logp_engine), up to objective.policy.mismatch_cap; look for a difference between the two"
    )

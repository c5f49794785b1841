"""Answers in their stored form: sampling options, cost, and the trace of each token's draw."""

from __future__ import annotations

from typing import Any

from jielong.records import Sampling
from jielong.serve.store import Trace
from jielong.use.port import Answer, Options, Usage

OPTIONS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens")
"""The options of `Sampling` that are kept with an answer."""


def sampling_json(sampling: Sampling) -> dict[str, Any]:
    """Return the sampling options to store with an answer."""
    return {name: getattr(sampling, name) for name in OPTIONS}


def usage_json(usage: Usage, *, num_written: int = 0, context: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    """Return the cost of an answer and its tokens per second."""
    seconds = seconds or usage.seconds
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "reused_tokens": usage.reused_tokens,
        "calls": usage.calls,
        "seconds": round(seconds, 3),
        "tokens_per_s": round((num_written or usage.completion_tokens) / seconds, 2) if seconds > 0 else None,
        "context": context or None,
    }


def trace_of(answer: Answer, options: Options, weights: str = "") -> Trace | None:
    """Return the trace of an answer, or None if its draws were not requested."""
    if not answer.ids or len(answer.draws) != len(answer.ids):
        return None
    by_model = (True,) * len(answer.ids)
    return Trace(
        answer.prompt_ids,
        answer.ids,
        answer.logprobs,
        by_model,
        answer.draws,
        weights,
        options.seed,
        sampling_json(options.sampling),
    )

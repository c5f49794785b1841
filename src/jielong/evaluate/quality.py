"""The cost of quantisation: the same text scored by the exact weights and by the rounded ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jielong.records import Request, Sample, Sampling
from jielong.runs import derive_seed
from jielong.tokens.tokenizer import Tokenizer

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Ids that are given, and the ids after them that are judged."""


class ScoringEngine(Protocol):
    """The protocol of an engine for this comparison: it generates and scores."""

    @property
    def length(self) -> int: ...
    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...
    def score_many(self, pairs: Sequence[Pair]) -> list[list[float]]: ...
    def are_likeliest(self, pairs: Sequence[Pair]) -> list[list[bool]]: ...


@dataclass(frozen=True)
class Quality:
    """Bits per byte before and after, and the share of greedy tokens on which both agree."""

    before: float
    after: float
    agreement: float
    num_tokens: int


def own_text(
    engine: ScoringEngine, tokenizer: Tokenizer, *, rows: int = 16, tokens: int = 128, seed: int = 0
) -> list[Pair]:
    """Sample texts from the model at temperature 1. The extra bits that other weights need on them estimate the
    Kullback-Leibler divergence.
    """
    opening = tokenizer.opening or tokenizer.stop_ids[:1]
    tokens = min(tokens, engine.length - len(opening))
    sampling = Sampling(max_tokens=tokens, stop_ids=tokenizer.stop_ids)
    requests = [Request(tuple(opening), sampling, derive_seed(seed, "own text", i)) for i in range(rows)]
    return [(s.prompt_ids, s.ids) for s in engine.generate(requests) if len(s.ids) > 1]


def windows(text: str, tokenizer: Tokenizer, width: int, limit: int) -> list[Pair]:
    """Cut the first `limit` tokens of a text into windows of `width`; the first token of each is context."""
    ids = tuple(tokenizer.encode(text))[:limit]
    return [(ids[i : i + 1], ids[i + 1 : i + width]) for i in range(0, len(ids) - 1, width)]


def greedy_text(engine: ScoringEngine, pairs: Sequence[Pair], tokens: int = 32) -> list[Pair]:
    """Continue the first half of each pair greedily with `engine`."""
    prompts = [(*given, *judged[: len(judged) // 2]) for given, judged in pairs]
    prompts = [prompt[: engine.length - tokens] for prompt in prompts]
    written = engine.generate([Request(p, Sampling(max_tokens=tokens, temperature=0.0)) for p in prompts])
    return [(s.prompt_ids, s.ids) for s in written]


def compare(exact: ScoringEngine, rounded: ScoringEngine, pairs: Sequence[Pair], tokenizer: Tokenizer) -> Quality:
    """Score `pairs` with both engines, and check `exact`'s greedy continuations token by token with `rounded`."""
    num_bytes = sum(int(tokenizer.byte_lengths[list(judged)].sum()) for _, judged in pairs)
    before, after = (
        -sum(map(sum, engine.score_many(pairs))) / math.log(2) / max(num_bytes, 1) for engine in (exact, rounded)
    )
    agreed = [is_same for row in rounded.are_likeliest(greedy_text(exact, pairs)) for is_same in row]
    return Quality(before, after, sum(agreed) / max(len(agreed), 1), sum(len(judged) for _, judged in pairs))

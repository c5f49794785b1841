"""Tokens and their draws as JSON: one form for OpenAI's clients, the page, and whatever is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jielong.records import Candidate, Draw
from jielong.tokens.tokenizer import Tokenizer
from jielong.tokens.visible import visible

NATS_A_BIT = math.log(2)


def log_of(probability: float) -> float:
    """The natural logarithm; of 0 the smallest that JSON can say and clients still add up."""
    return math.log(probability) if probability > 0 else -9999.0


def token_logprob(tokenizer: Tokenizer, id: int, probability: float) -> dict[str, Any]:
    """A token in OpenAI's shape: its text, its bytes, its log-probability."""
    said = tokenizer.token_bytes(id)
    return {"token": said.decode("utf-8", "replace"), "logprob": log_of(probability), "bytes": list(said)}


def openai_logprobs(tokenizer: Tokenizer, draw: Draw, num_top: int, which: str) -> dict[str, Any]:
    """A token of an answer in OpenAI's shape; `which` is "raw" (the model's own distribution) or "tempered"."""

    def probability(candidate: Candidate) -> float:
        return candidate.model if which == "raw" else candidate.tempered

    found = token_logprob(tokenizer, draw.taken.id, probability(draw.taken))
    top = draw.likeliest[:num_top]
    return found | {"top_logprobs": [token_logprob(tokenizer, c.id, probability(c)) for c in top]}


def candidate_json(tokenizer: Tokenizer, candidate: Candidate) -> dict[str, Any]:
    """An id that might have come: its text, and its probability on the way to the draw."""
    return {
        "id": candidate.id,
        "text": visible(tokenizer, candidate.id),
        "model": candidate.model,
        "tempered": candidate.tempered,
        "left": candidate.left,
        "cut": candidate.cut,
    }


def draw_json(tokenizer: Tokenizer, draw: Draw) -> dict[str, Any]:
    """Return the draw of a token: probabilities before and after the filters, the number, and the interval it fell in."""
    return {
        "p": draw.taken.tempered,
        "entropy": draw.entropy,
        "rank": draw.rank,
        "temperature": draw.temperature,
        "uniform": draw.uniform,
        "low": draw.low,
        "high": draw.high,
        "num_left": draw.num_left,
        "cuts": [{"filter": c.filter, "num_ids": c.num_ids, "probability": c.probability} for c in draw.cuts],
        "likeliest": [candidate_json(tokenizer, candidate) for candidate in draw.likeliest],
    }


def token_json(tokenizer: Tokenizer, n: int, id: int, draw: Draw | None, *, by_model: bool = True) -> dict[str, Any]:
    """Token `n` of an answer with its draw, where there is one."""
    found: dict[str, Any] = {
        "n": n,
        "id": id,
        "text": visible(tokenizer, id),
        "is_special": tokenizer.is_special(id),
        "by_model": by_model,
    }
    if draw is not None:
        logprob = log_of(draw.taken.tempered)
        found |= draw_json(tokenizer, draw)
        found |= {"logprob": logprob, "surprise": -logprob / NATS_A_BIT}
    return found


def cut_into_tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """A text's tokens, so that each can be seen."""
    return [{"id": id, "text": visible(tokenizer, id), "is_special": tokenizer.is_special(id)} for id in ids]

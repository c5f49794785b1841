"""Tokens and their draws as JSON: one form for OpenAI's clients, the page, and the store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jielong.records import Candidate, Draw
from jielong.serve.streams import json_text
from jielong.tokens.tokenizer import CALL_MARKS, Tokenizer
from jielong.tokens.visible import visible

NATS_A_BIT = math.log(2)


def log_of(probability: float) -> float:
    """Return the natural logarithm; for 0 a very negative finite number that JSON can hold and clients can sum."""
    return math.log(probability) if probability > 0 else -9999.0


class OpenAILogprobs:
    """A formatter of tokens in OpenAI's shape: their text, bytes, log-probability, and likeliest alternatives.

    The JSON of each id without its log-probability is cached, since a server may send some twenty ids for every token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._heads: dict[int, str] = {}

    def of(self, draw: Draw, num_top: int, which: str) -> str:
        """Format one token; `which` is "raw" (the model's own distribution) or "tempered"."""
        is_raw = which == "raw"
        top = [self._one(c.id, c.model if is_raw else c.tempered) for c in draw.likeliest[:num_top]]
        taken = self._one(draw.taken.id, draw.taken.model if is_raw else draw.taken.tempered)
        return f'{taken[:-1]},"top_logprobs":[{",".join(top)}]}}'

    def _one(self, id: int, probability: float) -> str:
        """Format one id with its log-probability."""
        head = self._heads.get(id)
        if head is None:
            said = self._tokenizer.token_bytes(id)
            text, numbers = json_text(said.decode("utf-8", "replace")), ",".join(map(str, said))
            head = self._heads[id] = f'{{"token":{text},"bytes":[{numbers}],"logprob":'
        return f"{head}{log_of(probability)!r}}}"


def candidate_json(tokenizer: Tokenizer, candidate: Candidate) -> dict[str, Any]:
    """Return a candidate's text, and its probabilities before and after the filters."""
    return {
        "id": candidate.id,
        "text": visible(tokenizer, candidate.id),
        "model": candidate.model,
        "tempered": candidate.tempered,
        "left": candidate.left,
        "cut": candidate.cut,
    }


def draw_json(tokenizer: Tokenizer, draw: Draw) -> dict[str, Any]:
    """Return a token's draw: probabilities before and after the filters, the random number, and its interval."""
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
    """Return token `n` of an answer, with its draw if it has one."""
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
    """Return a text's tokens for display."""
    return [{"id": id, "text": visible(tokenizer, id), "is_special": tokenizer.is_special(id)} for id in ids]


def call_token_id(tokenizer: Tokenizer) -> int | None:
    """Return the id of the token that begins a tool call, or None if the tokenizer has none."""
    mark = CALL_MARKS[0].encode()
    return next((id for id in sorted(tokenizer.marks_of_answers) if tokenizer.token_bytes(id) == mark), None)

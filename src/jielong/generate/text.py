"""Streaming text of one request; a stop string ends the text and the request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jielong.generate.engine import Engine
from jielong.generate.requests import Allowed
from jielong.records import Request, Sampling
from jielong.tokens.stream import TextStream
from jielong.tokens.tokenizer import Tokenizer


def generate_text(
    engine: Engine,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    seed: int = 0,
    *,
    allowed: Allowed | None = None,
) -> Iterator[str]:
    """Yield the answer in pieces, each once its text is final; a stop string, or leaving early, cancels the request."""
    text = TextStream(tokenizer, sampling.stop)
    events = engine.stream(Request(tuple(prompt_ids), sampling, seed), allowed=allowed)
    try:
        for event in events:
            piece = text.push(event.id)
            if piece:
                yield piece
            if text.stopped_by:
                return
        rest = text.finish()
        if rest:
            yield rest
    finally:
        events.close()

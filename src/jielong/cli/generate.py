"""One text from the command line: what you give is gone on with, or answered, and streams to standard output."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.errors import DataError
from jielong.generate.text import generate_text
from jielong.opening.models import open_engine
from jielong.records import Message, Request, Sampling
from jielong.report.draws import draw_block, legend
from jielong.runs import find_model
from jielong.tokens.chat import render_prompt
from jielong.tokens.stream import TextStream
from jielong.tokens.visible import visible

if TYPE_CHECKING:
    from jielong.generate.engine import Engine
    from jielong.tokens.tokenizer import Tokenizer

CANDIDATES = 5


def generate(
    path: Path,
    text: str,
    sampling: Sampling,
    *,
    stage: str | None,
    ask: bool,
    seed: int,
    weights: str | None,
    show: bool = False,
) -> int:
    """Stream the continuation of `text`, or with `ask` the answer to it; exit code 0. DataError for an empty text.

    With `show` each token is printed with how it was drawn, and the text after them.
    """
    engine, tokenizer = open_engine(find_model(path, stage), weights)
    if ask:
        prompt = render_prompt([Message("user", text)], tokenizer)
    else:
        prompt = (*tokenizer.opening, *tokenizer.encode(text))
    if not prompt:
        raise DataError("the text is empty; give at least a letter to go on with")
    ended = dataclasses.replace(sampling, stop_ids=tokenizer.stop_ids)
    if show:
        print(f"\n{_shown(engine, tokenizer, prompt, ended, seed)}")
        return 0
    for piece in generate_text(engine, tokenizer, prompt, ended, seed):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return 0


def _shown(engine: Engine, tokenizer: Tokenizer, prompt: Sequence[int], sampling: Sampling, seed: int) -> str:
    """The text, after a block for each of its tokens was printed as it was drawn."""
    has_cuts = bool(sampling.top_k or sampling.top_p < 1 or sampling.min_p)
    print(legend(is_greedy=not sampling.temperature, has_cuts=has_cuts))
    text, said = TextStream(tokenizer, sampling.stop), ""
    for event in engine.stream(Request(tuple(prompt), sampling, seed), num_candidates=CANDIDATES):
        assert event.draw is not None
        print(draw_block(event.n + 1, event.draw, lambda id: visible(tokenizer, id)), flush=True)
        said += text.push(event.id)
        if text.stopped_by:
            break
    return said + text.finish()

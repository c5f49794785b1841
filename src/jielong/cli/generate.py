"""One text from the command line: what you give is gone on with, or answered, and streams to standard output."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from jielong.errors import DataError
from jielong.generate.text import generate_text
from jielong.opening.models import open_engine
from jielong.records import Message, Sampling
from jielong.runs import find_model
from jielong.tokens.chat import render_prompt


def generate(
    path: Path, text: str, sampling: Sampling, *, stage: str | None, ask: bool, seed: int, weights: str | None
) -> int:
    """Stream the continuation of `text`, or with `ask` the answer to it; exit code 0. DataError for an empty text."""
    engine, tokenizer = open_engine(find_model(path, stage), weights)
    if ask:
        prompt = render_prompt([Message("user", text)], tokenizer)
    else:
        prompt = (*tokenizer.opening, *tokenizer.encode(text))
    if not prompt:
        raise DataError("the text is empty; give at least a letter to go on with")
    ended = dataclasses.replace(sampling, stop_ids=tokenizer.stop_ids)
    for piece in generate_text(engine, tokenizer, prompt, ended, seed):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return 0

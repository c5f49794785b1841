"""Watching a training run: its newest checkpoint is offered for chat, and answers a fixed set of prompts.

The watcher runs in the server's process and reads checkpoints as they are saved (every half minute), without affecting
the training. The answers are stored in the run's folder, beside its stages.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from jielong.errors import JielongError
from jielong.outside import Fields
from jielong.records import Request, Sampling
from jielong.runs import read_json, write_json
from jielong.runs.finding import newest_checkpoint
from jielong.serve.beside import compute_in_thread
from jielong.serve.models import Models

PROMPTS = (
    "The capital of France is",
    "What is the capital of Peru?",
    "Once upon a time",
    "法国的首都是",
    "秘鲁的首都是哪里？",
)
FILE = "watched.json"
MAX_TOKENS = 24
MOST_SAMPLES = 2000
_EVERY_S = 3.0


class Watcher:
    """A watcher of the run at `path`, which need not exist yet."""

    def __init__(self, path: Path, models: Models) -> None:
        self.path, self._models = path, models
        self._seen: Path | None = None

    async def run(self) -> None:
        """Look for new checkpoints until cancelled."""
        while True:
            with contextlib.suppress(JielongError, OSError):  # half of a run may be there; the next look sees more
                await self._offer_newest()
            await asyncio.sleep(_EVERY_S)

    async def _offer_newest(self) -> None:
        """Offer the newest checkpoint, and store its answers."""
        self._models.offer_run(self.path)
        newest = newest_checkpoint(self.path)
        if newest is None or newest == self._seen:
            return
        self._seen = newest
        texts = await compute_in_thread(partial(_write_samples, newest))
        stage, step = newest.parts[-4], int("".join(filter(str.isdigit, newest.parts[-2])) or 0)
        new = [{"stage": stage, "step": step, "prompt": prompt, "text": text} for prompt, text in texts]
        samples = [s for s in samples_of(self.path) if (s["stage"], s["step"]) != (stage, step)]
        write_json(self.path / FILE, [*samples, *new][-MOST_SAMPLES:])


def samples_of(run: Path) -> list[dict[str, Any]]:
    """Return the answers to the prompts so far; none if their file is damaged."""
    path = run / FILE
    if not path.exists():
        return []
    try:
        rows = [Fields(row, "a sample") for row in read_json(path)]
        return [{**{n: row.text(n) for n in ("stage", "prompt", "text")}, "step": row.whole("step")} for row in rows]
    except (JielongError, TypeError):
        return []


def _write_samples(folder: Path) -> list[tuple[str, str]]:
    """Return each prompt with a checkpoint's greedy continuation, or with its answer if it has learned to chat."""
    from jielong.generate.together import question_ids
    from jielong.opening.models import open_engine
    from jielong.tokens.chat import parse, parse_text

    engine, tokenizer = open_engine(folder, "float32", slots=len(PROMPTS), length=128)
    is_base = folder.parts[-4] == "pretrain"
    sampling = Sampling(max_tokens=MAX_TOKENS, temperature=0.0, stop_ids=tuple(tokenizer.stop_ids))
    requests = [Request(question_ids(prompt, tokenizer, is_bare=is_base), sampling) for prompt in PROMPTS]
    read = parse_text if is_base else parse
    samples = engine.generate(requests)
    return [(prompt, read(sample.ids, tokenizer).text) for prompt, sample in zip(PROMPTS, samples, strict=True)]

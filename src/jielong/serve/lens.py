"""A lens on a model: the predictions of each layer, and an answer sampled again in full precision.

Both load the weights in float32, since the engine's copy is rounded. The last model is cached.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from jielong.generate.engine import Engine, EngineConfig
from jielong.model.lens import logits_of_layers
from jielong.model.transformer import LanguageModel
from jielong.records import Request, Sampling
from jielong.serve.store import Trace
from jielong.tokens.tokenizer import Tokenizer
from jielong.tokens.visible import visible

NUM_LIKELIEST = 5
_lock = threading.Lock()
"""One at a time: each takes a whole core, and the memory of a whole model."""


@functools.lru_cache(maxsize=1)
def _load_model(folder: Path) -> LanguageModel:
    """Load a model in float32, with its adapter merged."""
    from jielong.model import adapter_files
    from jielong.model.hf import load_language_model

    return adapter_files.load_merged(folder) if adapter_files.is_adapter(folder) else load_language_model(folder)


def likeliest_by_layer(folder: Path, ids: Sequence[int], taken: int, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Return for each layer, as if it were the last one, the likeliest tokens after `ids` and the probability of the
    `taken` one.
    """
    with _lock, torch.inference_mode():
        model = _load_model(folder)
        longest = model.config.max_position_embeddings
        shares = torch.softmax(logits_of_layers(model, ids[-longest:]), -1)
    values, places = shares.topk(NUM_LIKELIEST, -1)
    found = []
    for layer, (share, of, at) in enumerate(zip(shares, values.tolist(), places.tolist(), strict=True)):
        likeliest = [{"id": id, "text": visible(tokenizer, id), "p": p} for id, p in zip(at, of, strict=True)]
        found.append({"layer": layer, "likeliest": likeliest, "p_taken": float(share[taken])})
    return found


def redraw(folder: Path, trace: Trace, num_kept: int) -> list[int]:
    """Sample an answer's ids again with the same random numbers, in float32, alone and without drafts; its first
    `num_kept` ids are kept.
    """
    options = {name: value for name, value in trace.sampling.items() if name in Sampling.__dataclass_fields__}
    with _lock:
        model = _load_model(folder)
        tokenizer = Tokenizer.load(_base_folder(folder))
        num_left = max(1, len(trace.ids) - num_kept)
        sampling = Sampling(**{**options, "max_tokens": num_left, "stop_ids": tuple(tokenizer.stop_ids)})
        length = len(trace.prompt_ids) + len(trace.ids) + 1
        config = EngineConfig(slots=1, length=min(length, model.config.max_position_embeddings), lookup=0, reuse=0)
        engine = Engine(model, config, tokenizer.suppressed_ids(model.config.vocab_size))
        opening = trace.ids[:num_kept]
        (sample,) = engine.generate([Request((*trace.prompt_ids, *opening), sampling, trace.seed or 0)])
    return [*opening, *sample.ids]


def _base_folder(folder: Path) -> Path:
    """Return the model folder itself, or that of an adapter's base."""
    from jielong.model.adapter_files import base_of, is_adapter

    return base_of(folder) if is_adapter(folder) else folder

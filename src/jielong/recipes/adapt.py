"""Fine-tuning a model that exists, by an adapter: on a folder of text, or on chats, in minutes.

The start is a directory in Hugging Face's layout or a stage of a run; its own tokenizer is used. Text goes through the
same refinery as a whole road's, chats through the same reader. At the end stand the adapter, its merged model on request,
and what it changed: held-out loss and texts, before and after.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jielong.data.sources import list_pages
from jielong.data.talks import read_chats
from jielong.errors import ConfigError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdapterConfig
from jielong.runs import find_model
from jielong.stages.compare import CompareStage
from jielong.stages.files import file_stage
from jielong.stages.models import ModelStage, model_digest
from jielong.stages.pages import FolderStage, content_digest
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.refine import RefineStage
from jielong.stages.tokens import EncodeStage
from jielong.stages.train import TrainStage
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig

EPOCHS = 3
BYTES_PER_TOKEN = 4.0
"""Of ordinary text in the tokenizers of models that exist; it decides the default number of steps alone."""

STEPS = (30, 120)
"""The fewest and the most that are taken by default: fewer teach nothing, more are no longer minutes."""


def adapt(
    model: Path,
    *,
    source: Path | None = None,
    chat: Path | None = None,
    rank: int = 16,
    base: str = "compute",
    merge: bool = False,
    seed: int = 0,
) -> Recipe:
    """An adapter of `rank` for `model`, trained on the folder `source` or the conversations of `chat`."""
    if (source is None) == (chat is None):
        raise ConfigError("adapt learns from one thing: --source DIR (a folder of text) or --chat FILE.jsonl")
    if base not in ("compute", "float32", "int8"):
        raise ConfigError(f"base is {base!r}; expected compute, float32 or int8")
    path = find_model(model).resolve()
    if adapter_files.is_adapter(path):
        raise ConfigError(f"{path} is an adapter; give the model it belongs to, or one it was merged into (--merge)")
    config, _ = hf.read_config(path)
    stages: list[Stage] = [ModelStage("base", str(path), model_digest(path))]
    if source is not None:
        pages = list_pages(source)
        num_bytes = sum(p.stat().st_size for p in pages)
        stages += [
            FolderStage("folder", str(source), content_digest(pages, source)),
            RefineStage("refine", {"pages": "folder"}),
            EncodeStage("tokens", {"documents": "refine", "tokenizer": "base"}),
        ]
        data, told = "tokens", {"held_out": "refine"}
    else:
        assert chat is not None
        stages.append(file_stage("chats", chat))
        num_bytes = sum(len(m.text.encode()) for c in read_chats(chat).records for m in c.messages)
        data, told = "chats", {"held_out": "chats"}
    length = min(512, config.max_position_embeddings)
    rows = RowsConfig(length=length, rows_per_step=4, micro_rows=2)
    steps = round(EPOCHS * num_bytes / BYTES_PER_TOKEN / (rows.length * rows.rows_per_step))
    steps = min(max(steps, STEPS[0]), STEPS[1])
    stages += [
        TrainStage(
            "adapt",
            {"data": data, "start": "base", "tokenizer": "base"},
            NextTokenConfig(),
            rows,
            optimizer=OptimizerConfig(lr=5e-4, warmup_steps=5, decay_fraction=0.9, weight_decay=0.0),
            loop=LoopConfig(steps=steps, log_every=1),
            check_every=max(1, steps // 4),
            adapter=AdapterConfig(rank=rank, alpha=2.0 * rank, base=base),  # type: ignore[arg-type]
        ),
        CompareStage(
            "compare", {"adapter": "adapt", "base": "base", "tokenizer": "base", "data": data, **told}, merge=merge
        ),
    ]
    learned = (source or chat or path).resolve()
    where = hashlib.blake2b(f"{path}\n{learned}".encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    return Recipe("adapt", f"{learned.stem}-{where}", seed, tuple(stages), model="adapt")

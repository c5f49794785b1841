"""Fine-tuning a model that exists, by an adapter: on a folder of text, on chats or on judged answers, in minutes.

The start is a directory in Hugging Face's layout or a stage of a run; its own tokenizer is used. Text goes through the
same refinery as a whole road's, chats through the same reader. Where chats and preferences are given, the adapter learns from
the chats first, and the same one goes on. At the end stand the adapter, its merged model on request,
and what it changed: held-out loss and texts, before and after.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jielong.data.chat_files import read_chats
from jielong.data.sources import list_pages
from jielong.errors import ConfigError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdapterConfig
from jielong.recipes.shared.methods import check_method, kind_of_judgements, num_answers, preference_training
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

EPOCHS, MOST_EPOCHS = 3, 8
"""How often the data is gone through by default, and how often at most where there is little of it."""

FEW_STEPS, MANY_STEPS = 30, 300
"""Little data is gone through up to eight times to reach 30 steps; three epochs end at 300 steps, unless one epoch is longer."""

BYTES_PER_TOKEN, TOKENS_PER_MESSAGE = 4.0, 20
"""Bytes in a token of ordinary text, and tokens around a chat turn; only default steps use them."""


def adapt(
    model: Path,
    *,
    source: Path | None = None,
    chat: Path | None = None,
    preferences: Path | None = None,
    method: str = "dpo",
    rank: int = 16,
    base: str = "compute",
    merge: bool = False,
    seed: int = 0,
) -> Recipe:
    """An adapter of `rank` for `model`, trained on the folder `source` or the conversations of `chat`.

    With `preferences` it is trained by `method` on judged answers, after the chats where there are any.
    """
    if (source is None) == (chat is None and preferences is None):
        raise ConfigError(
            "adapt learns from one thing: --source DIR (a folder of text) or --chat FILE.jsonl; "
            "--preferences FILE.jsonl goes alone or after --chat"
        )
    check_method(method)
    if base not in ("compute", "float32", "int8"):
        raise ConfigError(f"base is {base!r}; expected compute, float32 or int8")
    path = find_model(model).resolve()
    if adapter_files.is_adapter(path):
        raise ConfigError(f"{path} is an adapter; merge it first with: jielong export {model}")
    config, _ = hf.read_config(path)
    stages: list[Stage] = [ModelStage("base", str(path), model_digest(path))]
    adapter = AdapterConfig(rank=rank, alpha=2.0 * rank, base=base)  # type: ignore[arg-type]
    longest, start = config.max_position_embeddings, "base"
    compared = {"base": start, "tokenizer": "base"}
    if source is not None:
        pages = list_pages(source)
        num_tokens = sum(p.stat().st_size for p in pages) / BYTES_PER_TOKEN
        stages += [
            FolderStage("folder", str(source), content_digest(pages, source)),
            RefineStage("refine", {"pages": "folder"}),
            EncodeStage("tokens", {"documents": "refine", "tokenizer": "base"}),
        ]
        stages.append(_tuning("tokens", num_tokens, longest, adapter))
        compared |= {"adapter": "adapt", "data": "tokens", "held_out": "refine"}
    if chat is not None:
        stages.append(file_stage("chats", chat))
        messages = [m for c in read_chats(chat).records for m in c.messages]
        num_tokens = sum(len(m.text.encode()) / BYTES_PER_TOKEN + TOKENS_PER_MESSAGE for m in messages)
        stages.append(_tuning("chats", num_tokens, longest, adapter))
        compared |= {"adapter": "adapt", "data": "chats", "held_out": "chats"}
    if preferences is not None:
        kind = kind_of_judgements(preferences, method)
        judged = file_stage(kind, preferences)
        if chat is not None:
            start = "adapt"
            stages.insert(1, judged)  # before the chats are learned, so that what is wrong with it is told first
        else:
            stages.append(judged)
        count = num_answers(preferences, kind)
        inputs = {"data": kind, "start": start, "tokenizer": "base"}
        stages.append(preference_training(method, inputs, count, length=min(1024, longest), adapter=adapter))
        compared |= {"adapter": method, "base": start, "data": kind, "held_out": kind}
    stages.append(CompareStage("compare", compared, merge=merge))
    learned = (source or preferences or chat or path).resolve()
    what = f"{path}\n{learned}" + (f"\n{chat.resolve() if chat else ''}\n{method}" if preferences else "")
    where = hashlib.blake2b(what.encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    last = "adapt" if preferences is None else method
    return Recipe("adapt", f"{learned.stem}-{where}", seed, tuple(stages), model=last)


def _tuning(data: str, num_tokens: float, longest: int, adapter: AdapterConfig) -> TrainStage:
    """Make the stage that trains the adapter on so much text."""
    rows, steps = rows_and_steps(num_tokens, min(512, longest))
    return TrainStage(
        "adapt",
        {"data": data, "start": "base", "tokenizer": "base"},
        NextTokenConfig(),
        rows,
        optimizer=OptimizerConfig(lr=5e-4, warmup_steps=5, decay_fraction=0.9, weight_decay=0.0),
        loop=LoopConfig(steps=steps, log_every=1),
        check_every=max(1, steps // 4),
        adapter=adapter,
    )


def rows_and_steps(num_tokens: float, length: int) -> tuple[RowsConfig, int]:
    """Choose rows a step and steps for so much data; measured in log 2026-11-30-first-hour-tuning.

    Little data is cut into smaller steps, as the number of updates counts there, and gone through more often.
    """
    num_rows = 4 if EPOCHS * num_tokens / (4 * length) >= FEW_STEPS else 2
    epoch = num_tokens / (num_rows * length)
    steps = max(min(EPOCHS * epoch, MANY_STEPS), min(MOST_EPOCHS * epoch, FEW_STEPS), epoch, 10)
    return RowsConfig(length=length, rows_per_step=num_rows, micro_rows=2), round(steps)

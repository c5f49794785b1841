"""Fine-tuning a model that exists, by an adapter: on a folder of text, or on chats, in minutes.

The start is a directory in Hugging Face's layout or a stage of a run; its own tokenizer is used. Text goes through the
same refinery as a whole road's, chats through the same reader. Before anything is loaded it is reckoned whether all fits
into the memory that is free. At the end stand the adapter, its merged model on request, and what it changed: held-out
loss and texts, before and after.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import psutil
import torch

from jielong.data.batches import Batch
from jielong.data.sources import list_pages
from jielong.data.talks import read_chats
from jielong.errors import CheckpointError, ConfigError, DataError, ResourceError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model import adapter_files, adapters, hf
from jielong.model.adapters import AdaptedLinear, AdapterConfig
from jielong.model.presets import kept_bytes
from jielong.model.quantised import decoder_linears, quantise, weight_bytes
from jielong.model.transformer import LanguageModel, ModelConfig
from jielong.native.attention import has_attention
from jielong.recipes.own import content_digest
from jielong.recipes.prepare import open_tokenizer, read_conversations, read_documents, write_tokens
from jielong.recipes.recipe import (
    CompareStage,
    EncodeStage,
    FileStage,
    FolderStage,
    ModelStage,
    NextTokenConfig,
    Recipe,
    RefineStage,
    RowsConfig,
    Stage,
    TrainStage,
)
from jielong.recipes.samples import opening
from jielong.recipes.training import build_objective, build_source, held_out_loss, save_model
from jielong.records import Conversation, Sampling
from jielong.runs import derive_seed, find_model, write_directory, write_json, write_text
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.loop import LoopConfig
from jielong.train.machine import bf16_is_right
from jielong.train.objectives import CHUNK_TOKENS
from jielong.train.optim import OptimizerConfig
from jielong.train.parallel import Ranks
from jielong.use.port import LocalPort

if TYPE_CHECKING:
    from jielong.recipes.execute import Context

EPOCHS = 3
BYTES_PER_TOKEN = 4.0
"""Of ordinary text in the tokenizers of models that exist; it decides the default number of steps alone."""

STEPS = (30, 120)
"""The fewest and the most that are taken by default: fewer teach nothing, more are no longer minutes."""


# The recipe ----------------------------------------------------------------------------------------------------------


def model_digest(path: Path) -> str:
    """Hex blake2b-128 of what decides a model: its config, weights and tokenizer."""
    digest = hashlib.blake2b(digest_size=16)
    files = [*path.glob("*.safetensors"), *path.glob("*.json"), *path.glob("*.model"), *path.glob("*.txt")]
    for file in sorted(files):
        with file.open("rb") as opened:
            digest.update(file.name.encode() + hashlib.file_digest(opened, "blake2b").digest())
    return digest.hexdigest()


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
        found = read_chats(chat)
        if len(found) < 20:
            raise DataError(f"{chat} holds {len(found)} chats; at least 20 are needed, and hundreds are better")
        num_bytes = sum(len(m.text.encode()) for c in found for m in c.messages)
        stages.append(FileStage("chats", str(chat), "chats", content_digest([chat], chat.parent)))
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
    return Recipe("adapt", f"{learned.stem}-{where}", seed, tuple(stages))


# Memory --------------------------------------------------------------------------------------------------------------


def memory_needed(config: ModelConfig, adapter: AdapterConfig, rows: RowsConfig, item: int) -> dict[str, float]:
    """Bytes that training takes, by what for; `item` is the size of a number in the products' dtype.

    Weights and adapters are counted on a model without memory; activations are what the backward pass keeps of each
    layer, and the largest passing tensors (attention scores, logits).
    """
    with torch.device("meta"):
        model = LanguageModel(config)
        matrices = decoder_linears(model)
        chosen = adapters.chosen_linears(model, adapter.targets)
        trained = sum(
            sum(p.numel() for n, p in AdaptedLinear(m, adapter, 0).named_parameters() if "lora" in n)
            for m in chosen.values()
        )
    full = weight_bytes(model)
    num_matrix = sum(p.numel() for m in matrices.values() for p in m.parameters())
    each = {"float32": 4 + (item if item < 4 else 0), "compute": item, "int8": 1}[adapter.base]
    C, layers = config.hidden_size, config.num_hidden_layers
    tokens = rows.micro_rows * rows.length
    keeps_scores = (
        rows.length <= 512
        and not torch.cuda.is_available()
        and not has_attention(torch.float32 if item == 4 else torch.bfloat16)
    )
    scores = config.num_attention_heads * rows.length if keeps_scores else 0
    per_token = kept_bytes(config, item, scores) + 7 * item * adapter.rank
    passing = tokens * (3 * scores * 4 + 4 * item * config.intermediate_size)
    head = config.vocab_size * (CHUNK_TOKENS * (8 + 2 * item) + C * (4 + 2 * item))
    activations = float(layers * tokens * per_token + passing)
    return {
        "weights": full - 4 * num_matrix + each * num_matrix,
        "adapter and optimizer": 16.0 * trained,
        "activations": activations,
        "logits": float(head),
        # measured at 135M parameters: from the second step on, half as much again lies in holes between what is used
        "left by earlier steps": 0.5 * (activations + head),
        "loading": 1.05 * full,
    }


def memory_total(parts: Mapping[str, float]) -> float:
    """The most at one time: while loading, or while training."""
    training = sum(size for name, size in parts.items() if name != "loading")
    return max(parts["loading"], training)


def free_memory() -> float:
    """Bytes that may still be taken: of the GPU where there is one, of the machine, or of the group we are in."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
        return free if limit == "max" else min(free, float(limit) - float(used))
    except (OSError, ValueError):
        return free


def check_memory(recipe: Recipe, free: float | None = None) -> None:
    """ResourceError when what the recipe trains does not fit into the memory that is free, with what would."""
    base = next(s for s in recipe.stages if isinstance(s, ModelStage))
    stage = next(s for s in recipe.stages if isinstance(s, TrainStage))
    assert stage.adapter is not None and isinstance(stage.source, RowsConfig)
    config, _ = hf.read_config(Path(base.path))
    item = 2 if torch.cuda.is_available() or bf16_is_right("cpu") else 4
    free = free_memory() if free is None else free
    parts = memory_needed(config, stage.adapter, stage.source, item)
    if memory_total(parts) <= free:
        return
    length, half = stage.source.length, max(2, stage.source.length // 2)
    small = dataclasses.replace(stage.adapter, base="int8")
    name = stage.name
    fewer, int8 = f"--set {name}.source.micro_rows=2", f"--set {name}.adapter.base=int8"
    ways: list[tuple[str, int, int, AdapterConfig]] = [
        (fewer, length, 2, stage.adapter),
        (int8, length, stage.source.micro_rows, small),
        (f"{fewer} {int8}", length, 2, small),
        (f"{fewer} {int8} --set {name}.source.length={half}", half, 2, small),
    ]
    advice = "; take a smaller model, or a machine with more memory"
    for words, length, micro_rows, adapter in ways:
        rows = dataclasses.replace(stage.source, length=length, micro_rows=micro_rows)
        needed = memory_total(memory_needed(config, adapter, rows, item))
        if needed <= free:
            advice = f"; with {words} it takes {needed / 1e9:.1f} GB"
            break
    listed = ", ".join(f"{what} {size / 1e9:.1f}" for what, size in parts.items() if what != "loading")
    raise ResourceError(
        f"adapting {base.path} takes about {memory_total(parts) / 1e9:.1f} GB of memory (training: {listed}; loading "
        f"{parts['loading'] / 1e9:.1f}) and {free / 1e9:.1f} GB are free{advice}"
    )


# What the stages do --------------------------------------------------------------------------------------------------


def point_to_model(stage: ModelStage, context: Context) -> dict[str, Any]:
    """The stage's folder shows to where the model lies, which is read there and not copied."""
    check_memory(context.recipe)
    path = Path(stage.path)
    tokenizer = Tokenizer.load(path)
    config, _ = hf.read_config(path)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"the tokenizer in {path} has {tokenizer.vocab_size} ids and the model {config.vocab_size}; they do not belong together"
        )
    directory = context.directory(stage.name)
    for link in (directory / "steps" / "000000" / "model", directory / "tokenizer"):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path, target_is_directory=True)
    return {"checkpoint": "000000", "path": stage.path, "vocab_size": tokenizer.vocab_size}


def encode(stage: EncodeStage, context: Context) -> dict[str, Any]:
    """Both parts of the refined text as token shards."""
    tokenizer = open_tokenizer(stage, context)
    train, held_out = (
        read_documents(context.parent(stage, "documents") / f"{n}.jsonl") for n in ("documents", "held_out")
    )
    return {"tokens": write_tokens(context.directory(stage.name), tokenizer, train=train, held_out=held_out)}


def measure(
    check: Callable[[Mapping[str, Any], int], dict[str, float]],
    model: LanguageModel,
    batches: list[Batch],
    tokenizer: Tokenizer,
) -> dict[str, float]:
    """Held-out loss in nats a token and in bits for each byte of the same tokens."""
    model.requires_grad_(False)
    loss = check({"policy": model}, 0)["held_out_loss"]
    num_tokens = sum(int((b.weights > 0).sum()) for b in batches)
    num_bytes = sum(int(tokenizer.byte_lengths[b.targets[b.weights > 0].numpy()].sum()) for b in batches)
    return {"held_out_loss": loss, "bits_per_byte": loss * num_tokens / max(num_bytes, 1) / math.log(2)}


def compare(stage: CompareStage, context: Context) -> dict[str, Any]:
    """adapter/, merged/ where asked for, compare.json and samples.txt in the run's directory."""
    tokenizer = open_tokenizer(stage, context)
    seed = derive_seed(context.recipe.seed, stage.name)
    trained = context.recipe.stage(stage.inputs["adapter"])
    assert isinstance(trained, TrainStage) and trained.adapter is not None
    path, base = context.checkpoint(trained.name), context.checkpoint(stage.inputs["base"])
    _, batches = build_source(trained, context, tokenizer, {}, seed)
    check = held_out_loss(build_objective(trained, hf.read_config(base)[0]), batches, Ranks())
    prompts, openings = _what_to_write(stage, context)
    sampling = Sampling(max_tokens=stage.max_tokens, temperature=0.0)

    def open_base() -> LanguageModel:
        model = hf.load_language_model(base).to(context.machine.device)
        model.model.compute_dtype = context.machine.torch_dtype
        return model

    def write(model: LanguageModel) -> list[str]:
        length = min(model.config.max_position_embeddings, 2048)
        port = LocalPort(Engine(model, EngineConfig(slots=8, length=length, dtype=context.machine.dtype)), tokenizer)
        if prompts:
            return [a.text for a in port.ask_many(prompts, sampling, seed=seed)]
        return [a.text for a in port.complete_many(openings, sampling, seed=seed)]

    model = open_base()
    found = {"before": measure(check, model, batches, tokenizer)}
    texts = {"before": write(model)}
    model = adapter_files.load(path, model).merge(keep=False)
    found["after"] = measure(check, model, batches, tokenizer)
    texts["after"] = write(model)
    if stage.merge:
        write_directory(context.run.path / "merged", lambda folder: save_model(model, tokenizer, folder))
    write_directory(context.run.path / "adapter", lambda folder: _copy(path, folder))
    lines = [_figures(found)]
    if trained.adapter.base == "int8":
        del model
        small = open_base()
        full_bytes = weight_bytes(small)
        quantise(small)
        found["int8"] = measure(check, small, batches, tokenizer) | {"saved_bytes": full_bytes - weight_bytes(small)}
        lines.append(
            f"int8 weights before adapting: bits per byte {found['before']['bits_per_byte']:.4f} -> "
            f"{found['int8']['bits_per_byte']:.4f}, {found['int8']['saved_bytes'] / 1e9:.2f} of {full_bytes / 1e9:.2f} GB saved"
        )
    context.display.message("\n".join(lines))
    shown = [c.messages[-1].text for c in prompts] or openings
    for asked, before, after in zip(shown, texts["before"], texts["after"], strict=True):
        lines += ["", f"> {asked}", f"  before: {before}", f"  after:  {after}"]
    write_text(context.run.path / "samples.txt", "\n".join(lines) + "\n")
    write_json(context.run.path / "compare.json", {"measures": found, "asked": shown, "texts": texts})
    outputs = ["adapter", "compare.json", "samples.txt", *(["merged"] if stage.merge else [])]
    return {"measures": found, "outputs": outputs}


def _copy(adapter: Path, folder: Path) -> None:
    copytree(adapter, folder, dirs_exist_ok=True)


def _figures(found: Mapping[str, Mapping[str, float]]) -> str:
    before, after = found["before"], found["after"]
    return (
        f"held-out loss {before['held_out_loss']:.4f} -> {after['held_out_loss']:.4f} nats a token, "
        f"bits per byte {before['bits_per_byte']:.4f} -> {after['bits_per_byte']:.4f}"
    )


def _what_to_write(stage: CompareStage, context: Context) -> tuple[list[Conversation], list[str]]:
    """Held-out questions, or without chats the openings of held-out documents."""
    held_out = context.parent(stage, "held_out")
    if (held_out / "chats.jsonl").exists():
        chats = read_conversations(held_out / "held_out.jsonl")
        asked = [Conversation(c.messages[:-1]) for c in chats if len(c.messages) > 1 and len(c.messages[0].text) < 1000]
        return asked[: stage.num_samples], []
    documents = read_documents(held_out / "held_out.jsonl")[: stage.num_samples]
    return [], [opening(d) for d in documents]

"""An estimate of whether an adapter's training fits into free memory, made before anything is loaded."""
# B rows of a micro-batch, T positions, C hidden width.

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import psutil
import torch

from jielong.errors import ResourceError
from jielong.model import adapters
from jielong.model.adapters import AdaptedLinear, AdapterConfig
from jielong.model.config import ModelConfig
from jielong.model.presets import activation_bytes
from jielong.model.quantised import decoder_linears, weight_bytes
from jielong.model.transformer import LanguageModel
from jielong.native.attention import has_attention
from jielong.train.machine import bf16_is_right
from jielong.train.objectives.logprobs import CHUNK_TOKENS
from jielong.train.sources import RowsConfig

SLOTS = 128
"""Samples that a rollout's engine writes at a time."""


def memory_needed(config: ModelConfig, adapter: AdapterConfig, rows: RowsConfig, item: int) -> dict[str, float]:
    """Estimate the bytes that training takes, by purpose; `item` is the size of a number in the products' dtype.

    Weights and adapters are counted on a model without memory; activations are those that the backward pass keeps of
    each layer, and the largest temporary tensors (attention scores, logits).
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
    per_token = activation_bytes(config, item, scores) + 7 * item * adapter.rank
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


def rollout_memory(config: ModelConfig, adapter: AdapterConfig, rows: RowsConfig, item: int) -> dict[str, float]:
    """Estimate the bytes that PPO of an adapter takes beside `memory_needed`, by purpose.

    The critic is a whole trained model, with its gradients, both moments and a copy in the products' dtype; it keeps activations
    as the policy does. The engine's cache is as large as its slots are long, whether they are used or not.
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    count = sum(p.numel() for p in model.parameters())
    kept = memory_needed(config, adapter, rows, item)
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * item * SLOTS * rows.length
    return {
        "reference and reward model": 8.0 * count,
        "critic and optimizer": (16.0 + item) * count,
        "critic's activations": 1.5 * kept["activations"],
        "engine": float(item * count + cache),
    }


def memory_total(parts: Mapping[str, float]) -> float:
    """Return the most bytes at one time: while loading, or while training."""
    training = sum(size for name, size in parts.items() if name != "loading")
    return max(parts["loading"], training)


def free_bytes() -> float:
    """Return the bytes that may still be taken: of the GPU where there is one, of the machine, or of our control group."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
        return free if limit == "max" else min(free, float(limit) - float(used))
    except (OSError, ValueError):
        return free


def check_rollout_memory(base: Path, needed: Mapping[str, float], free: float | None = None) -> None:
    """Raise ResourceError when PPO of an adapter of the model in `base` does not fit into free memory."""
    free = free_bytes() if free is None else free
    if memory_total(needed) <= free:
        return
    listed = ", ".join(f"{what} {size / 1e9:.1f}" for what, size in needed.items() if what != "loading")
    raise ResourceError(
        f"reward+ppo of {base} takes about {memory_total(needed) / 1e9:.1f} GB of memory ({listed}) and {free / 1e9:.1f} GB are "
        "free; dpo learns from the same comparisons and takes less"
    )


def check_memory(
    base: Path, config: ModelConfig, stage: str, rows: RowsConfig, adapter: AdapterConfig, free: float | None = None
) -> None:
    """Raise ResourceError when adapting the model in `base` does not fit into free memory, with what would."""
    item = 2 if torch.cuda.is_available() or bf16_is_right("cpu") else 4
    free = free_bytes() if free is None else free
    parts = memory_needed(config, adapter, rows, item)
    if memory_total(parts) <= free:
        return
    half = max(2, rows.length // 2)
    small = dataclasses.replace(adapter, base="int8")
    fewer, int8 = f"--set {stage}.source.micro_rows=2", f"--set {stage}.adapter.base=int8"
    ways: list[tuple[str, int, int, AdapterConfig]] = [
        (fewer, rows.length, 2, adapter),
        (int8, rows.length, rows.micro_rows, small),
        (f"{fewer} {int8}", rows.length, 2, small),
        (f"{fewer} {int8} --set {stage}.source.length={half}", half, 2, small),
    ]
    advice = "; take a smaller model, or a machine with more memory"
    for words, length, micro_rows, tried in ways:
        shorter = dataclasses.replace(rows, length=length, micro_rows=micro_rows)
        needed = memory_total(memory_needed(config, tried, shorter, item))
        if needed <= free:
            advice = f"; with {words} it takes {needed / 1e9:.1f} GB"
            break
    listed = ", ".join(f"{what} {size / 1e9:.1f}" for what, size in parts.items() if what != "loading")
    raise ResourceError(
        f"adapting {base} takes about {memory_total(parts) / 1e9:.1f} GB of memory (training: {listed}; loading "
        f"{parts['loading'] / 1e9:.1f}) and {free / 1e9:.1f} GB are free{advice}"
    )

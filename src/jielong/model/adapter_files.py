"""Adapters on disk in PEFT's format: adapter_config.json and adapter_model.safetensors; each program opens the other's.

The file names the linear maps as the family's checkpoints do. Nearly always these are our names; GPT-2 keeps queries,
keys and values in one map, and there our three adapters are saved as one of three times the rank. A config that asks
for something we would compute otherwise is refused by the field's name.
"""
# r rank of one map, R the largest of all.

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from jielong.errors import CheckpointError, ConfigError
from jielong.model.adapters import AdaptedLinear, AdaptedModel, AdapterConfig, chosen_linears, ends_in
from jielong.model.families import FAMILIES, Place
from jielong.model.hf import load_language_model
from jielong.model.quantised import QuantisedLinear, decoder_linears, full_weight
from jielong.model.transformer import LanguageModel, Linear
from jielong.outside import Fields, is_number, own_file, own_object

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_MAGNITUDE = "lora_magnitude_vector"
_MOST_RANK = 2**16

# Fields of PEFT's config that would change what is computed, and the values under which they do not.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "lora_bias": (False,),
    "use_qalora": (False,),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
}
# Ways of starting that change the base weights too, so that the saved A and B belong to another base.
_REWRITES_BASE = ("pissa", "olora", "loftq", "corda")


def save(adapted: AdaptedModel, path: Path, base: str = "") -> None:
    """Write the adapter into the existing folder `path`; `base` is where its model lies, a folder or a name on a hub."""
    config = adapted.adapter
    pairs = _pairs(adapted)
    ranks = {key: len(A) for key, (A, _) in pairs.items() if len(A) != config.rank}
    strengths = {key: config.scale * (math.sqrt(r) if config.rank_stabilised else r) for key, r in ranks.items()}
    data = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": int(config.alpha) if config.alpha == int(config.alpha) else config.alpha,
        "rank_pattern": ranks,
        "alpha_pattern": strengths,
        "lora_dropout": config.dropout,
        "use_rslora": config.rank_stabilised,
        **({"use_dora": True} if config.decomposed else {}),
        "target_modules": _target_names(adapted.base, list(pairs)),
        "bias": "none",
        "fan_in_fan_out": any(_place_of(adapted.base, name).is_transposed for name in adapted.linears),
        "modules_to_save": None,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    (path / CONFIG_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    tensors: dict[str, Tensor] = {}
    for key, (A, B) in pairs.items():
        tensors[f"{_PREFIX}{key}.lora_A.weight"] = A.cpu().contiguous()
        tensors[f"{_PREFIX}{key}.lora_B.weight"] = B.cpu().contiguous()
    for key, lengths in _magnitudes(adapted).items():
        tensors[f"{_PREFIX}{key}.{_MAGNITUDE}"] = lengths.cpu().contiguous()
    save_file(tensors, path / WEIGHTS_FILE, metadata={"format": "pt"})


def _place_of(model: LanguageModel, name: str) -> Place:
    """Return where the family's files keep the map called `name`; the name there is without ".weight"."""
    place = FAMILIES[model.config.model_type].place(f"{name}.weight")
    return Place(place.name.removesuffix(".weight"), place.part, place.is_transposed)


def _pairs(adapted: AdaptedModel) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the matrices A and B of each map as the files name it.

    Where a family keeps three maps in one, their As are stacked and their Bs are blocks on a diagonal, which is an
    adapter of the joined map with three times the rank.
    """
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for name, linear in adapted.linears.items():
        place = _place_of(adapted.base, name)
        A, B = linear.lora_A.detach(), linear.lora_B.detach()
        if place.part is not None:
            wide = B.new_zeros(3 * len(B), B.shape[1])
            wide[place.part * len(B) : (place.part + 1) * len(B)] = B
            before = pairs.get(place.name)
            A, B = (A, wide) if before is None else (torch.cat([before[0], A]), torch.cat([before[1], wide], dim=1))
        pairs[place.name] = (A, B)
    return pairs


def _magnitudes(adapted: AdaptedModel) -> dict[str, Tensor]:
    """Return the magnitudes of a decomposed adapter by the maps of the files.

    Where a family keeps three maps in one, those that are not adapted have the lengths of their rows.
    """
    parts: dict[str, dict[int, Tensor]] = {}
    for name, linear in adapted.linears.items():
        if linear.lora_magnitude is not None:
            place = _place_of(adapted.base, name)
            parts.setdefault(place.name, {})[place.part or 0] = linear.lora_magnitude.detach()
    for name, module in decoder_linears(adapted.base).items():
        place = _place_of(adapted.base, name.removesuffix(".base"))
        if place.name in parts and place.part is not None:
            parts[place.name].setdefault(place.part, torch.linalg.vector_norm(full_weight(module), dim=1))
    return {key: torch.cat([found[part] for part in sorted(found)]) for key, found in parts.items()}


def _target_names(model: LanguageModel, keys: list[str]) -> list[str]:
    """Return the last parts of the names where these choose the same maps of the files, whole names otherwise."""
    maps = (Linear, QuantisedLinear, AdaptedLinear)
    named = [n.removesuffix(".base") for n, module in model.named_modules() if isinstance(module, maps)]
    everywhere = {_place_of(model, name).name for name in named}
    last = sorted({key.rpartition(".")[2] for key in keys})
    chosen = {key for key in everywhere if any(ends_in(key, t) for t in last)}
    return last if chosen == set(keys) else sorted(keys)


def is_adapter(path: Path) -> bool:
    return (path / CONFIG_FILE).exists()


def _read_config_file(path: Path) -> dict[str, Any]:
    """Read adapter_config.json; CheckpointError where it is missing."""
    file = path / CONFIG_FILE
    if not file.exists():
        raise CheckpointError(f"no adapter in {path}: {CONFIG_FILE} is missing")
    return own_object(file)


def read_config(path: Path) -> tuple[AdapterConfig, str]:
    """Read rank, strength and dropout of the adapter in `path`, and the name of its base.

    CheckpointError when it is missing, damaged, or computes something that we do not.
    """
    file, data = path / CONFIG_FILE, _read_config_file(path)
    for key, plain in _PLAIN.items():
        if key in data and data[key] not in plain:
            raise CheckpointError(f"{file} has {key} = {data[key]!r:.80}; adapters here are computed with {plain[0]!r}")
    fields = Fields(data, str(file), CheckpointError)
    start = str(data.get("init_lora_weights", True)).lower()[:100]
    if start.startswith(_REWRITES_BASE):
        raise CheckpointError(
            f"{file} was started by {start!r}, which changes the base too; convert it to plain LoRA when saving it in PEFT"
        )
    try:
        config = AdapterConfig(
            rank=fields.whole("r", low=1, high=_MOST_RANK),
            alpha=float(fields.number("lora_alpha")),
            dropout=float(fields.number("lora_dropout", 0.0)),
            rank_stabilised=fields.flag("use_rslora", False),
            decomposed=fields.flag("use_dora", False),
        )
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from error
    return config, fields.text("base_model_name_or_path", None) or ""


def load(path: Path, base: LanguageModel, kept_in: Literal["compute", "float32", "int8"] = "float32") -> AdaptedModel:
    """Load the adapter in `path` onto `base`, which is taken over; the adapted maps are those in the file."""
    config, _ = read_config(path)
    pairs, magnitudes = _read_pairs(path, base, config.decomposed)
    scales = _scales(
        _read_config_file(path), config, {_place_of(base, name).name: len(A) for name, (A, _) in pairs.items()}
    )
    rank, scale = max(len(A) for A, _ in pairs.values()), config.scale
    strength = scale * (math.sqrt(rank) if config.rank_stabilised else rank)
    config = AdapterConfig(
        **{
            **config.__dict__,
            "rank": rank,
            "alpha": config.alpha if rank == config.rank else strength,
            "targets": tuple(pairs),
            "base": kept_in,
        }
    )
    state: dict[str, Tensor] = {}
    for name, (A, B) in pairs.items():
        # a map of smaller rank or other strength becomes one of these: zeros for what it lacks, the ratio into B
        missing = rank - len(A)
        ratio = scales[_place_of(base, name).name] / scale
        state[f"{name}.lora_A.weight"] = F.pad(A, (0, 0, 0, missing))
        state[f"{name}.lora_B.weight"] = F.pad(B if math.isclose(ratio, 1.0) else B * ratio, (0, missing))
    state |= {f"{name}.{_MAGNITUDE}": lengths for name, lengths in magnitudes.items()}
    adapted = AdaptedModel(base, config)
    try:
        adapted.load_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path / WEIGHTS_FILE}: {error}") from error
    return adapted


def _read_pairs(
    path: Path, base: LanguageModel, is_decomposed: bool
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Read A and B (float32) of each map of `base` that the file adapts, and its magnitudes where it is decomposed.

    A map joined in the file gives its A to all its parts.
    """
    file = path / WEIGHTS_FILE
    if not file.exists():
        raise CheckpointError(f"no adapter in {path}: {WEIGHTS_FILE} is missing")
    try:
        tensors = load_file(own_file(file))
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); restore a copy") from error
    left = {name.removeprefix(_PREFIX): tensor.float() for name, tensor in tensors.items()}
    used: set[str] = set()
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    magnitudes: dict[str, Tensor] = {}
    for name in [*chosen_linears(base, ()), *(["lm_head"] if hasattr(base, "lm_head") else [])]:
        place = _place_of(base, name)
        keys = [f"{place.name}.lora_{part}.weight" for part in "AB"]
        if all(key in left for key in keys):
            A, B = (left[key] for key in keys)
            if (
                A.dim() != 2
                or B.dim() != 2
                or not len(A)
                or B.shape[1] % len(A)
                or (place.part is not None and len(B) % 3)
            ):
                raise CheckpointError(
                    f"{file}: {place.name} has shapes {tuple(A.shape)} and {tuple(B.shape)}, no adapter's"
                )
            pairs[name] = (A, B if place.part is None else B.chunk(3)[place.part])
            used.update(keys)
            if is_decomposed:
                key = f"{place.name}.{_MAGNITUDE}"
                if key not in left:
                    raise CheckpointError(f"{file} lacks {key}, but {CONFIG_FILE} says use_dora")
                lengths = left[key]
                magnitudes[name] = lengths if place.part is None else lengths.chunk(3)[place.part]
                used.add(key)
    unknown = sorted(set(left) - used)
    if unknown or not pairs:
        raise CheckpointError(f"{file} adapts {(unknown or ['nothing'])[0]!r}, which this base model does not have")
    return pairs, magnitudes


def _scales(data: Mapping[str, Any], config: AdapterConfig, ranks: Mapping[str, int]) -> dict[str, float]:
    """Return the factor of B A for each map of the files by its rank; patterns may give some maps another."""
    fields = Fields(data, CONFIG_FILE, CheckpointError)
    ranks_of, strengths_of = (_patterns(fields, name) for name in ("rank_pattern", "alpha_pattern"))
    scales: dict[str, float] = {}
    for key, rank in ranks.items():

        def ask(patterns: Mapping[re.Pattern[str], float], otherwise: float, key: str = key) -> float:
            return next((value for pattern, value in patterns.items() if pattern.fullmatch(key)), otherwise)

        expected = ask(ranks_of, config.rank)
        if rank != expected:
            raise CheckpointError(f"the adapter's {key} has a shape of rank {rank}; {CONFIG_FILE} says {expected:g}")
        alpha = ask(strengths_of, config.alpha)
        scales[key] = alpha / (math.sqrt(rank) if config.rank_stabilised else rank)
    return scales


def _patterns(fields: Fields, name: str) -> dict[re.Pattern[str], float]:
    """Take a field of numbers by map, whose keys are regular expressions."""
    found: dict[re.Pattern[str], float] = {}
    for pattern, value in fields.inner(name, None).data.items():
        if not is_number(value, 0.0):
            fields.wrong(name, "numbers by the names of maps")
        try:
            found[re.compile(rf"(.*\.)?({pattern})")] = float(value)
        except (re.error, OverflowError, RecursionError):
            fields.wrong(name, "numbers by the names of maps")
    return found


def base_of(path: Path) -> Path:
    """Return the folder of the model that the adapter in `path` was made for; CheckpointError when it is not there."""
    _, name = read_config(path)
    for folder in (Path(name), path / name):
        try:
            if name and (folder / "config.json").exists():
                return folder
        except OSError:  # a name that the system refuses, such as one of thousands of letters
            continue
    raise CheckpointError(
        f"the adapter in {path} belongs to the model {name!r:.200}, which is not a folder here; name its base"
    )


def load_merged(path: Path, base: Path | None = None) -> LanguageModel:
    """Load the adapter in `path` merged into its base: the model that the engine writes with."""
    return load(path, load_language_model(base or base_of(path))).merge(keep=False)

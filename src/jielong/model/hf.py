"""Checkpoints in Hugging Face's layout: config.json and model.safetensors, which `transformers` opens with equal logits.

Parameter names in memory are already those in the file, so saving is a plain write. A language model is a
Qwen3ForCausalLM; a scalar model a Qwen3ForSequenceClassification with one label and its `reward_offset` in the config.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file

from jielong.errors import CheckpointError, did_you_mean
from jielong.model.transformer import LanguageModel, ModelConfig, ScalarModel

CAUSAL, CLASSIFIER = "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"

# Fields of a Qwen3 config that do not change what the weights compute here, or that we fix to the value given.
_NEUTRAL = {
    "_name_or_path", "architectures", "bos_token_id", "dtype", "eos_token_id", "id2label", "initializer_range",
    "label2id", "layer_types", "max_window_layers", "model_type", "num_labels", "pad_token_id", "problem_type",
    "reward_offset", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip
_FIXED: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "rope_scaling": None,
    "sliding_window": None,
    "use_sliding_window": False,
}


def config_dict(model: LanguageModel | ScalarModel, *, eos_token_id: int, pad_token_id: int) -> dict[str, Any]:
    """What config.json holds."""
    own = dataclasses.asdict(model.config)
    theta = own.pop("rope_theta")
    data = {
        "architectures": [CAUSAL if isinstance(model, LanguageModel) else CLASSIFIER],
        "model_type": "qwen3",
        **own,
        **_FIXED,
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "torch_dtype": "float32",
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
    }
    if isinstance(model, ScalarModel):
        data |= {"num_labels": 1, "id2label": {"0": "reward"}, "label2id": {"reward": 0}}
        data["reward_offset"] = model.reward_offset
    return data


def save(model: LanguageModel | ScalarModel, path: Path, *, eos_token_id: int, pad_token_id: int) -> None:
    """Write config.json and model.safetensors into the existing folder `path`."""
    data = config_dict(model, eos_token_id=eos_token_id, pad_token_id=pad_token_id)
    (path / "config.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The shape of the checkpoint in `path`, and the whole config.json; CheckpointError when it is not one of ours."""
    file = path / "config.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint in {path}: config.json is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if data.get("model_type") != "qwen3":
        raise CheckpointError(f"{file} describes a {data.get('model_type')!r} model; this version opens qwen3")
    rope = data.pop("rope_parameters", None)
    if rope:
        if rope.get("rope_type", "default") != "default":
            raise CheckpointError(f"{file} has rope_type {rope['rope_type']!r}; this version computes 'default'")
        data["rope_theta"] = rope["rope_theta"]
    known = {f.name for f in dataclasses.fields(ModelConfig)}
    for key, value in data.items():
        if key in _FIXED and value != _FIXED[key]:
            raise CheckpointError(f"{file} has {key} = {value!r}; this version computes {_FIXED[key]!r}")
        if key not in known | _NEUTRAL | set(_FIXED):
            raise CheckpointError(f"{file} has an unknown field {key!r}; {did_you_mean(key, known)}")
    return ModelConfig(**{k: v for k, v in data.items() if k in known}), data


def load(path: Path) -> LanguageModel | ScalarModel:
    """The model of a checkpoint directory, float32 on the CPU; CheckpointError names what is missing or damaged."""
    config, data = read_config(path)
    model: LanguageModel | ScalarModel
    if data.get("architectures") == [CLASSIFIER]:
        model = ScalarModel(config)
        model.reward_offset = float(data.get("reward_offset", 0.0))
    else:
        model = LanguageModel(config)
    model.load_state_dict(_tensors_like(model.state_dict(), path / "model.safetensors"))
    return model


def _tensors_like(expected: dict[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    if not file.exists():
        raise CheckpointError(f"no checkpoint in {file.parent}: model.safetensors is missing")
    try:
        tensors = load_file(file)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); delete the stage's folder and run again") from error
    for name, tensor in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{file} lacks the tensor {name!r} that its config.json asks for")
        if tensors[name].shape != tensor.shape:
            have, want = tuple(tensors[name].shape), tuple(tensor.shape)
            raise CheckpointError(f"{file}: {name} has shape {have}; its config.json asks for {want}")
    return {name: tensors[name].float() for name in expected}


def load_language_model(path: Path) -> LanguageModel:
    """Like `load`, for a model that must be able to write."""
    model = load(path)
    if not isinstance(model, LanguageModel):
        raise CheckpointError(
            f"{path} holds a reward model, which gives scores and no text; choose a policy checkpoint"
        )
    return model

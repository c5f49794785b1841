"""Checkpoints in Hugging Face's layout: config.json and safetensors, which `transformers` opens with equal logits.

Read are all families of `model.families`, in float32, bfloat16 or float16, in one file or in several with an index;
written is one float32 file of the family that the config names. A language model is a ...ForCausalLM; a scalar model a
...ForSequenceClassification with one label and its `reward_offset` in the config.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from jielong.errors import CheckpointError
from jielong.model.families import FAMILIES, config_fields, read_model_config
from jielong.model.transformer import LanguageModel, ModelConfig, ScalarModel

INDEX = "model.safetensors.index.json"
_DTYPES = ("F64", "F32", "F16", "BF16")
# What older files hold besides: masks and rotary tables, which are computed here, and a tied head once more.
_COMPUTED = re.compile(r".*(\.attn\.(masked_)?bias|\.rotary_emb\.inv_freq)")


def config_dict(
    model: LanguageModel | ScalarModel, *, eos_token_id: int | Sequence[int], pad_token_id: int | None
) -> dict[str, Any]:
    """What config.json holds."""
    family = config_fields(model.config, Path("config.json"))
    data = {
        "architectures": [_class_of(model)],
        **family,
        "torch_dtype": "float32",
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": eos_token_id if isinstance(eos_token_id, int) else list(eos_token_id),
        "pad_token_id": pad_token_id,
    }
    if isinstance(model, ScalarModel):
        data |= {"num_labels": 1, "id2label": {"0": "reward"}, "label2id": {"reward": 0}}
        data["reward_offset"] = model.reward_offset
    return data


def _class_of(model: LanguageModel | ScalarModel) -> str:
    family = FAMILIES[model.config.model_type]
    return family.causal if isinstance(model, LanguageModel) else family.classifier


def save(
    model: LanguageModel | ScalarModel,
    path: Path,
    *,
    eos_token_id: int | Sequence[int],
    pad_token_id: int | None,
) -> None:
    """Write config.json and model.safetensors into the existing folder `path`; ConfigError where no file can say it."""
    data = config_dict(model, eos_token_id=eos_token_id, pad_token_id=pad_token_id)
    (path / "config.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    place = FAMILIES[model.config.model_type].place
    tensors: dict[str, Tensor] = {}
    joined: dict[str, dict[int, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        theirs, tensor = place(name), tensor.detach().cpu()
        tensor = tensor.T if theirs.is_transposed else tensor
        if theirs.part is None:
            tensors[theirs.name] = tensor.contiguous()
        else:
            joined.setdefault(theirs.name, {})[theirs.part] = tensor
    tensors |= {name: torch.cat([parts[i] for i in range(3)], dim=-1) for name, parts in joined.items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The shape of the checkpoint in `path`, and the whole config.json; CheckpointError says what is wrong with it."""
    file = path / "config.json"
    if not file.exists():
        raise CheckpointError(f"no checkpoint in {path}: config.json is missing")
    data = _read_json(file)
    return read_model_config(data, file), data


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} is damaged: it holds no object")
    return data


def load(path: Path) -> LanguageModel | ScalarModel:
    """The model of a checkpoint directory, float32 on the CPU; CheckpointError names what is missing or damaged."""
    config, data = read_config(path)
    model: LanguageModel | ScalarModel
    with torch.device("meta"):
        if data.get("architectures") == [FAMILIES[config.model_type].classifier]:
            model = ScalarModel(config)
        else:
            model = LanguageModel(config)
    if isinstance(model, ScalarModel):
        model.reward_offset = float(data.get("reward_offset", 0.0))
    model.load_state_dict(_tensors_like(model, path), assign=True)
    return model


def load_language_model(path: Path) -> LanguageModel:
    """Like `load`, for a model that must be able to write."""
    model = load(path)
    if not isinstance(model, LanguageModel):
        raise CheckpointError(
            f"{path} holds a reward model, which gives scores and no text; choose a policy checkpoint"
        )
    return model


def _tensors_like(model: LanguageModel | ScalarModel, path: Path) -> dict[str, Tensor]:
    """The tensors of `model`, which itself holds shapes alone; what the files have too much or too little is named."""
    place = FAMILIES[model.config.model_type].place
    used: set[str] = set()
    found: dict[str, Tensor] = {}
    with Files(path) as files:
        for name, expected in model.state_dict().items():
            theirs = place(name)
            # the base model of some families was saved without the name of the whole
            key = theirs.name if theirs.name in files.where else theirs.name.removeprefix("transformer.")
            tensor = files.read(key)
            if theirs.part is not None:
                tensor = tensor.chunk(3, dim=-1)[theirs.part]
            tensor = tensor.T if theirs.is_transposed else tensor
            if tensor.shape != expected.shape:
                have, want = tuple(tensor.shape), tuple(expected.shape)
                raise CheckpointError(f"{files.where[key]}: {name} has shape {have}; its config.json asks for {want}")
            used.add(key)
            # a copy: the file may be written again while the model lives
            found[name] = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        is_tied = isinstance(model, LanguageModel) and model.config.tie_word_embeddings
        for name, file in files.where.items():
            if name not in used and not _COMPUTED.fullmatch(name) and not (is_tied and name == "lm_head.weight"):
                raise CheckpointError(f"{file} holds the tensor {name!r}, for which its config.json has no use")
    return found


class Files:
    """The safetensors of a checkpoint, opened together; tensors are read one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where: dict[str, Path] = {}
        """The file of each tensor."""
        self._opened: dict[Path, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Files:
        try:
            self._find()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, name: str) -> Tensor:
        if name not in self.where:
            place = self.path / INDEX if len(self._opened) > 1 else next(iter(self._opened))
            raise CheckpointError(f"{place} lacks the tensor {name!r} that its config.json asks for")
        file = self.where[name]
        dtype = self._opened[file].get_slice(name).get_dtype()
        if dtype not in _DTYPES:
            raise CheckpointError(f"{file}: {name} is of type {dtype}; this version reads {', '.join(_DTYPES)}")
        tensor: Tensor = self._opened[file].get_tensor(name)
        return tensor

    def _find(self) -> None:
        single, index = self.path / "model.safetensors", self.path / INDEX
        if single.exists():
            files = [single]
        elif index.exists():
            try:
                named = _read_json(index)["weight_map"]
                files = [self.path / Path(name).name for name in dict.fromkeys(named.values())]
            except (KeyError, AttributeError, TypeError) as error:
                raise CheckpointError(f"{index} is damaged: it has no weight_map of tensors to files") from error
        else:
            other = next((f.name for f in self.path.glob("*.bin")), "")
            hint = f"; {other} is not read here, only safetensors are" if other else ""
            raise CheckpointError(f"no checkpoint in {self.path}: model.safetensors is missing{hint}")
        for file in files:
            if not file.exists():
                raise CheckpointError(f"no complete checkpoint in {self.path}: {file.name} of its index is missing")
            try:
                self._opened[file] = self._stack.enter_context(safetensors.safe_open(file, framework="pt"))
            except (safetensors.SafetensorError, OSError) as error:
                raise CheckpointError(f"{file} is damaged ({error}); get it or make it again") from error
            self.where |= dict.fromkeys(self._opened[file].keys(), file)

"""Checkpoints in Hugging Face's layout: config.json and safetensors, which `transformers` opens with equal logits.

All families of `model.families` are read, in float32, bfloat16 or float16, in one file or in several with an index. The
family that the config names is written, float32 unless asked otherwise. A language model is a ...ForCausalLM; a scalar
model a ...ForSequenceClassification with one label and its `reward_offset` in the config.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.model.families import FAMILIES, config_fields, read_model_config
from jielong.model.presets import num_parameters
from jielong.model.transformer import LanguageModel, ModelConfig, ScalarModel
from jielong.outside import Fields, own_file, own_object, refuse_pointer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What weights can be saved in."""
_DTYPES = ("F64", "F32", "F16", "BF16")
# What older files hold besides: masks and rotary tables, which are computed here, and a tied head once more.
_COMPUTED = re.compile(r".*(\.attn\.(masked_)?bias|\.rotary_emb\.inv_freq)")


def config_dict(
    model: LanguageModel | ScalarModel,
    *,
    eos_token_id: int | Sequence[int],
    pad_token_id: int | None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return the content of config.json."""
    family = config_fields(model.config, Path("config.json"))
    data = {
        "architectures": [_class_of(model)],
        **family,
        "torch_dtype": dtype,
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
    dtype: str = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and the weights into the existing folder `path`. Raises ConfigError if the format cannot
    express it.

    Weights of more than `shard_bytes` go into several files with an index; a single larger tensor has a file of its
    own. The folder is the caller's to make aside and rename (`runs.write_directory`): a kill in here leaves half of it.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"weights cannot be saved as {dtype!r}; expected one of {', '.join(DTYPES)}")
    data = config_dict(model, eos_token_id=eos_token_id, pad_token_id=pad_token_id, dtype=dtype)
    # a file of an earlier save would be read instead of the new ones
    for old in (*path.glob("model*.safetensors"), path / INDEX):
        old.unlink(missing_ok=True)
    (path / "config.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    place, state = FAMILIES[model.config.model_type].place, model.state_dict()
    sources: dict[str, list[str]] = {}
    for name in state:
        sources.setdefault(place(name).name, []).append(name)

    def written(name: str) -> Tensor:
        """Return a tensor as the file holds it: parts joined, transposed if the family does so."""
        parts = []
        for source in sorted(sources[name], key=lambda source: place(source).part or 0):
            part = state[source].detach().to("cpu", DTYPES[dtype])
            parts.append(part.T if place(source).is_transposed else part)
        return (torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]).contiguous()

    item = DTYPES[dtype].itemsize
    sizes = {name: item * sum(state[source].numel() for source in parts) for name, parts in sources.items()}
    shards = _shards(sizes, shard_bytes)
    files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for file, names in zip([WEIGHTS] if len(shards) == 1 else files, shards, strict=True):
        # one shard's tensors at a time are cast and joined
        save_file({name: written(name) for name in names}, path / file, metadata={"format": "pt"})
    if len(shards) > 1:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        (path / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Group names in their order, cut before the one that would exceed `limit` bytes."""
    shards: list[list[str]] = [[]]
    room = limit
    for name, size in sizes.items():
        if size > room and shards[-1]:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= size
    return shards


def read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Read the shape of the checkpoint in `path`, and the whole config.json. Raises CheckpointError, which says what is
    wrong with it.
    """
    file = path / "config.json"
    if not file.exists():
        raise CheckpointError(f"no checkpoint in {path}: config.json is missing")
    data = own_object(file)
    return read_model_config(data, file), data


def load(path: Path) -> LanguageModel | ScalarModel:
    """Load the model of a checkpoint directory, float32 on the CPU. Raises CheckpointError, which names what is missing
    or damaged.
    """
    config, data = read_config(path)
    is_scalar = data.get("architectures") == [FAMILIES[config.model_type].classifier]
    with Files(path) as files:
        # before anything is made for it: a number in config.json may be any
        least = num_parameters(dataclasses.replace(config, tie_word_embeddings=True) if is_scalar else config)
        if 2 * least > files.num_bytes:
            raise CheckpointError(
                f"{path / 'config.json'} asks for {least:,} parameters; the files of weights hold {files.num_bytes:,} bytes"
            )
        model: LanguageModel | ScalarModel
        with torch.device("meta"):
            model = ScalarModel(config) if is_scalar else LanguageModel(config)
        if isinstance(model, ScalarModel):
            fields = Fields(data, str(path / "config.json"), CheckpointError)
            model.reward_offset = float(fields.number("reward_offset", 0.0))
        model.load_state_dict(_tensors_like(model, files), assign=True)
    return model


def load_language_model(path: Path) -> LanguageModel:
    """Load a model that must be able to write text."""
    return as_language_model(load(path), path)


def as_language_model(model: LanguageModel | ScalarModel, path: Path) -> LanguageModel:
    """Return the model itself. Raises CheckpointError if it is a scalar model, which cannot write text."""
    if not isinstance(model, LanguageModel):
        raise CheckpointError(
            f"{path} holds a reward model, which gives scores and no text; choose a policy checkpoint"
        )
    return model


def _tensors_like(model: LanguageModel | ScalarModel, files: Files) -> dict[str, Tensor]:
    """Read the tensors of `model`, which itself holds shapes alone; missing and left-over ones are named."""
    place = FAMILIES[model.config.model_type].place
    used: set[str] = set()
    found: dict[str, Tensor] = {}
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
        self.num_bytes = 0
        """Of all files."""
        self._opened: dict[Path, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Files:
        try:
            self._open_all()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, name: str) -> Tensor:
        """Read one tensor. Raises CheckpointError if it is missing or of an unknown type."""
        if name not in self.where:
            place = self.path / INDEX if len(self._opened) > 1 else next(iter(self._opened))
            raise CheckpointError(f"{place} lacks the tensor {name!r} that its config.json asks for")
        file = self.where[name]
        dtype = self._opened[file].get_slice(name).get_dtype()
        if dtype not in _DTYPES:
            raise CheckpointError(f"{file}: {name} is of type {dtype}; this version reads {', '.join(_DTYPES)}")
        tensor: Tensor = self._opened[file].get_tensor(name)
        return tensor

    def _open_all(self) -> None:
        """Open the single file, or those that the index names. Raises CheckpointError if one is missing or damaged."""
        single, index = self.path / WEIGHTS, self.path / INDEX
        if single.exists():
            files = [single]
        elif index.exists():
            named = own_object(index).get("weight_map")
            if (
                not isinstance(named, dict)
                or not named
                or not all(isinstance(n, str) and len(n) < 256 for n in named.values())
            ):
                raise CheckpointError(f"{index} is damaged: it has no weight_map of tensors to files")
            files = [self.path / Path(name).name for name in dict.fromkeys(named.values())]
        else:
            other = next((f.name for f in self.path.glob("*.bin")), "")
            hint = f"; {other} is not read here, only safetensors are" if other else ""
            raise CheckpointError(f"no checkpoint in {self.path}: {WEIGHTS} is missing{hint}")
        for file in files:
            if not file.exists():
                raise CheckpointError(f"no complete checkpoint in {self.path}: {file.name} of its index is missing")
            try:
                refuse_pointer(own_file(file))
                self.num_bytes += file.stat().st_size
                self._opened[file] = self._stack.enter_context(safetensors.safe_open(file, framework="pt"))
            except DataError as error:
                raise CheckpointError(str(error)) from None
            except (safetensors.SafetensorError, OSError) as error:
                raise CheckpointError(f"{file} is damaged ({error}); get it or make it again") from error
            self.where |= dict.fromkeys(self._opened[file].keys(), file)

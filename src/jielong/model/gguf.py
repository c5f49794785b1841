"""GGUF files, the one-file models of llama.cpp: read into our models and checkpoint folders, and written from them.

A file holds fields (the shape, the tokenizer, the chat template) and tensors, many of them quantised. Reading turns one
tensor after the other into float32, so memory stays near that of the model; writing converts one after the other too.
`gguf_names` maps the names, `gguf_tokenizer` the tokenizer, `gguf_header` finds where things lie; the `gguf` library
handles quantised numbers, and writes the file.
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jielong.errors import CheckpointError, ConfigError, DataError, did_you_mean
from jielong.model import hf
from jielong.model.gguf_header import VersionError, read_header
from jielong.model.gguf_names import (
    Entry,
    architecture_of,
    entries,
    join,
    metadata,
    read_config,
    split,
)
from jielong.model.gguf_rope import Array, rope_factors
from jielong.model.gguf_tokenizer import tokenizer_files, tokenizer_metadata
from jielong.model.presets import num_parameters
from jielong.model.transformer import LanguageModel, ModelConfig
from jielong.outside import Fields, refuse_pointer
from jielong.runs import disk_errors, read_json, write_directory, write_json, write_text

IMPORTED = "imported.json"
"""In the folder of an imported model: which file it was made of."""

READABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K")
WRITABLE = {"f32": ("F32", 0), "f16": ("F16", 1), "bf16": ("BF16", 32), "q8_0": ("Q8_0", 7)}
"""Our name of a file's type -> the tensors' type, and the number of general.file_type."""


def _import_library() -> types.ModuleType:
    """Import the gguf library. Raises ConfigError, which says how to install it."""
    try:
        import gguf
    except ImportError:
        raise ConfigError("GGUF files need the library gguf; in the checkout: pip install -e '.[gguf]'") from None
    return gguf


def check_export(kind: str) -> None:
    """Raise ConfigError if no file of type `kind` can be written here; for before a large model is read."""
    _import_library()
    if kind not in WRITABLE:
        raise ConfigError(f"GGUF type {kind!r} cannot be written; {did_you_mean(kind, WRITABLE)}")


def _describe_error(path: Path, error: Exception) -> str:
    """Say in our words why the library cannot read the file: its own errors are about arrays."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "is empty"
    if not head.startswith(b"GGUF"):
        return "is no GGUF file: it does not begin with those letters"
    if isinstance(error, VersionError):
        return f"is of a version of GGUF that is not read here ({error})"
    return f"is cut off or damaged: it has {path.stat().st_size:,} bytes, and its header promises more; fetch it again"


class GgufFile:
    """An open GGUF file: its fields, its config, and its tensors under our names, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Open and check the file. Raises CheckpointError if it is missing, damaged, or of a kind that is not read
        here.
        """
        library = _import_library()
        self.path = path
        self._library = library
        try:
            refuse_pointer(path)
            self.meta, self._tensors = read_header(path, library)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be opened ({error.strerror or error})") from error
        except DataError as error:
            raise CheckpointError(str(error)) from None
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{path} {_describe_error(path, error)}") from error
        fields = Fields(self.meta, str(path), CheckpointError)
        kind = fields.text("general.type", "model")
        if kind != "model":
            raise CheckpointError(f"{path} holds a GGUF {kind}, and no model; give the model's file")
        num_parts = fields.whole("split.count", 1)
        if num_parts > 1:
            raise CheckpointError(f"{path} is one of {num_parts} parts; join them with gguf-split first")
        for name, tensor in self._tensors.items():
            if tensor.kind.name not in READABLE:
                raise CheckpointError(
                    f"{path}: {name} is of type {tensor.kind.name}; read here are {', '.join(READABLE)}"
                )
        factors = self._read_array("rope_freqs.weight") if "rope_freqs.weight" in self._tensors else None
        embeddings = self._tensors.get("token_embd.weight")
        if embeddings is None:
            raise CheckpointError(f"{path} lacks the tensor token_embd.weight")
        try:
            self.config: ModelConfig = read_config(self.meta, self._tensors.keys(), embeddings.shape[0], factors)
        except (CheckpointError, ConfigError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        self._check_names()

    def _check_names(self) -> None:
        """Raise CheckpointError for tensors that are missing or unknown, or too few numbers for the shape."""
        known = {entry.gguf for entry in entries(self.config)} | {"rope_freqs.weight"}
        extra = sorted(self._tensors.keys() - known)
        if extra:
            raise CheckpointError(f"{self.path} has a tensor {extra[0]!r} that its architecture does not use here")
        missing = sorted(known - self._tensors.keys() - {"rope_freqs.weight"})
        if missing:
            raise CheckpointError(f"{self.path} lacks the tensor {missing[0]!r}")
        have = sum(math.prod(tensor.shape) for tensor in self._tensors.values())
        if num_parameters(self.config) > have:
            raise CheckpointError(
                f"{self.path} describes a model of {num_parameters(self.config):,} parameters and holds {have:,}"
            )

    def _read_array(self, name: str) -> Array:
        """Read a tensor of the file as float32, whatever type it is stored in."""
        tensor = self._tensors[name]
        values = self._library.quants.dequantize(tensor.data, tensor.kind)
        return np.asarray(values, np.float32)

    def tensors(self, entry: Entry) -> dict[str, Array]:
        """Return our tensors, float32, from one entry of the file."""
        array = self._read_array(entry.gguf)
        try:
            return dict(zip(entry.ours, split(entry, array), strict=True))
        except ValueError:
            raise CheckpointError(
                f"{self.path}: {entry.gguf} has the shape {array.shape}, which is not its model's"
            ) from None

    def language_model(self) -> LanguageModel:
        """Build the model, float32 on the CPU."""
        model = LanguageModel(self.config)
        targets = dict(model.named_parameters())
        for entry in entries(self.config):
            for name, array in self.tensors(entry).items():
                target = targets.pop(name)
                if target.shape != array.shape:
                    have, want = tuple(array.shape), tuple(target.shape)
                    raise CheckpointError(f"{self.path}: {entry.gguf} gives shape {have} for {name}; expected {want}")
                with torch.no_grad():
                    target.copy_(torch.from_numpy(np.array(array)))
        assert not targets, f"no entry for {sorted(targets)}"
        return model

    def tokenizer_files(self) -> dict[str, str]:
        """Return file name -> text of the tokenizer's files in Hugging Face's layout."""
        try:
            return tokenizer_files(self.meta, self.config.vocab_size)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error

    def special_ids(self) -> dict[str, int]:
        """Return the ids of the tokens that begin a text, end it, and fill rows, if the file names them."""
        keys = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
        fields = Fields(self.meta, str(self.path), CheckpointError)
        most = self.config.vocab_size - 1
        found = {ours: fields.whole(f"tokenizer.ggml.{theirs}", None, high=most) for ours, theirs in keys.items()}
        return {name: id for name, id in found.items() if id is not None}


def load_language_model(path: Path) -> LanguageModel:
    """Load the model of a GGUF file, float32 on the CPU. Raises CheckpointError, which names what is damaged or not
    computed here.
    """
    return GgufFile(path).language_model()


def import_gguf(path: Path, folder: Path) -> ModelConfig:
    """Write the model of a GGUF file as a checkpoint folder with its tokenizer and chat template; return its config."""
    file = GgufFile(path)
    files = file.tokenizer_files()
    ids = file.special_ids()
    if "eos_token_id" not in ids:
        raise CheckpointError(f"{path} names no token that ends a text (tokenizer.ggml.eos_token_id)")
    model = file.language_model()

    fields = Fields(file.meta, str(path), CheckpointError)
    turn_end = fields.whole("tokenizer.ggml.eot_token_id", ids["eos_token_id"], high=file.config.vocab_size - 1)
    ends = list(dict.fromkeys((ids["eos_token_id"], turn_end)))

    def fill(aside: Path) -> None:
        hf.save(model, aside, eos_token_id=ends[0] if len(ends) == 1 else ends, pad_token_id=ids.get("pad_token_id"))
        for name, text in files.items():
            write_text(aside / name, text)
        write_json(aside / IMPORTED, _identity(path))

    write_directory(folder, fill)
    return file.config


def is_import_of(folder: Path, path: Path) -> bool:
    """Whether `folder` was made from this GGUF file as it is now, by its name, its size and its time of writing."""
    try:
        return bool(read_json(folder / IMPORTED) == _identity(path))
    except CheckpointError:
        return False


def _identity(path: Path) -> dict[str, Any]:
    about = path.stat()
    return {"file": path.name, "bytes": about.st_size, "modified_ns": about.st_mtime_ns}


def export_gguf(
    model: LanguageModel, tokenizer: Path | None, path: Path, kind: str = "f16", name: str = ""
) -> list[str]:
    """Write `model` and the tokenizer saved in a folder as one file of type `kind`, a name of `WRITABLE`.

    Norms, biases and other vectors stay float32; a matrix whose rows do not divide into blocks of 32 is float16 in a
    q8_0 file. Returns warnings in sentences: where llama.cpp would compute or tokenise in another way.
    """
    check_export(kind)
    library, config = _import_library(), model.config
    fields = {"general.type": "model", "general.name": name or path.stem, "general.file_type": WRITABLE[kind][1]}
    fields |= {"general.quantization_version": 2, **metadata(config)}
    warnings = _window_warnings(config)
    if tokenizer is not None:
        more, about = tokenizer_metadata(tokenizer, config.vocab_size)
        fields |= more
        warnings += about
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            _write(library, aside, model, fields, library.GGMLQuantizationType[WRITABLE[kind][0]])
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    return warnings


def _window_warnings(config: ModelConfig) -> list[str]:
    """Warn if llama.cpp ignores the model's sliding window."""
    window = config.sliding_window
    if config.model_type != "gemma3_text" and config.sliding_layers and window < config.max_position_embeddings:
        return [f"llama.cpp has no sliding window for {config.model_type}: beyond {window} positions it sees more"]
    return []


def _write(library: types.ModuleType, path: Path, model: LanguageModel, fields: Mapping[str, Any], wanted: Any) -> None:
    """Write the fields and tensors of a model with the library's writer, one tensor at a time."""
    writer = library.GGUFWriter(path, architecture_of(model.config))
    for key, value in fields.items():
        _add_field(writer, key, value)
    parameters = dict(model.named_parameters())
    whole = list(entries(model.config))
    factors = rope_factors(model.config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for entry in whole:
        shape = _shape_in_file(entry, [tuple(parameters[name].shape) for name in entry.ours])
        kind = _tensor_type(library, entry, shape, wanted)
        num_bytes = math.prod(library.quants.quant_shape_to_byte_shape(shape, kind))
        writer.add_tensor_info(entry.gguf, shape, np.dtype(np.float32), num_bytes, kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors)
        for entry in whole:
            array = join(entry, [parameters[name].detach().cpu().float().numpy() for name in entry.ours])
            kind = _tensor_type(library, entry, array.shape, wanted)
            writer.write_tensor_data(library.quants.quantize(np.ascontiguousarray(array), kind))
    finally:
        writer.close()


def _shape_in_file(entry: Entry, shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of the file's tensor that is made of tensors of these shapes."""
    if entry.form == "joined":
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return (len(shapes), *shapes[0]) if entry.form == "stacked" else shapes[0]


def _tensor_type(library: types.ModuleType, entry: Entry, shape: tuple[int, ...], wanted: Any) -> Any:
    """Choose the type of a tensor: float32 for vectors, float16 if rows do not divide into blocks."""
    kinds = library.GGMLQuantizationType
    if len(shape) == 1 or entry.precise:
        return kinds.F32
    return kinds.F16 if wanted == kinds.Q8_0 and shape[-1] % 32 else wanted


def _add_field(writer: Any, key: str, value: Any) -> None:
    """Add a field to the writer by the type of its value."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)

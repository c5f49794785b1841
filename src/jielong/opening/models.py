"""Opening an engine on a model folder, in the number format that is fastest here or that is asked for."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.errors import ConfigError

if TYPE_CHECKING:
    from jielong.generate.engine import Engine
    from jielong.tokens.tokenizer import Tokenizer

WEIGHTS = ("float32", "bfloat16", "int8")
"""How an engine may keep its weights."""


def open_engine(
    folder: Path, weights: str | None = None, *, slots: int = 1, length: int = 0
) -> tuple[Engine, Tokenizer]:
    """Open an engine on the model in `folder`, or on the adapter there merged into its base; also return its tokenizer.

    On a GPU if torch sees one. A slot has `length` positions at most, 0 for all that the model has.
    """
    # late: the command line starts without torch
    import torch

    from jielong.generate.engine import Engine, EngineConfig
    from jielong.model import adapter_files
    from jielong.model.hf import load_language_model
    from jielong.tokens.tokenizer import Tokenizer

    if adapter_files.is_adapter(folder):
        model, home = adapter_files.load_merged(folder), adapter_files.base_of(folder)
    else:
        model, home = load_language_model(folder), folder
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    length = min(length, model.config.max_position_embeddings)
    config = EngineConfig.fast(model.config, device, weights, slots=slots, length=length)
    tokenizer = Tokenizer.load(home)
    return Engine(model.to(device), config, tokenizer.suppressed_ids(model.config.vocab_size)), tokenizer


def import_if_needed(file: Path) -> Path:
    """Return the model folder of a GGUF file, models/NAME, made if it is missing or older than the file.

    Raises ConfigError if another model has that name.
    """
    from jielong.model.gguf import IMPORTED, import_gguf, is_import_of

    folder = Path("models") / file.stem
    if is_import_of(folder, file):
        return folder
    if folder.exists() and not (folder / IMPORTED).exists():
        raise ConfigError(
            f"{folder} is there already and was not made of {file}; give that folder, or import the file under another "
            f"name: jielong import {file} --out models/NAME"
        )
    print(f"Importing {file} into {folder} ...", file=sys.stderr, flush=True)
    import_gguf(file, folder)
    return folder


def num_parameters(folder: Path) -> int:
    """Count the numbers in the weights of a model folder, or of an adapter's base, from the heads of its files.

    Only an adapter needs torch for it.
    """
    from safetensors import safe_open

    if (folder / "adapter_config.json").exists():
        from jielong.model.adapter_files import base_of

        folder = base_of(folder)
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total

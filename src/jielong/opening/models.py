"""Opening an engine on a model folder, with its weights kept as is fastest here or as somebody wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jielong.generate.engine import Engine
    from jielong.tokens.tokenizer import Tokenizer

WEIGHTS = ("float32", "bfloat16", "int8")
"""How an engine may keep its weights."""


def open_engine(
    folder: Path, weights: str | None = None, *, slots: int = 1, length: int = 0
) -> tuple[Engine, Tokenizer]:
    """An engine on the model in `folder`, or on the adapter there merged into its base, and its tokenizer.

    On a GPU where torch sees one. A slot has `length` positions at most, 0 for all that the model has.
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
    return Engine(model.to(device), config), Tokenizer.load(home)

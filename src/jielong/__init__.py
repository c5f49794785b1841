"""The road from raw text to an assistant on one machine: refine, train a tokenizer, pretrain, instruct, learn a reward, reinforce.

The names below are what most people need; everything else lives in the module that is about it. They are fetched when
first asked for, so `import jielong` costs nothing and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jielong.errors import JielongError
    from jielong.model.hf import load_language_model
    from jielong.model.presets import estimate, preset
    from jielong.model.transformer import LanguageModel, ModelConfig
    from jielong.records import Conversation, Document, Message, Preference, Sampling
    from jielong.tokens.tokenizer import Tokenizer, train_tokenizer

__version__ = "0.2.0"

__all__ = [
    "Conversation",
    "Document",
    "JielongError",
    "LanguageModel",
    "Message",
    "ModelConfig",
    "Preference",
    "Sampling",
    "Tokenizer",
    "estimate",
    "load_language_model",
    "preset",
    "train_tokenizer",
]

_HOME = {
    "Conversation": "records",
    "Document": "records",
    "JielongError": "errors",
    "LanguageModel": "model.transformer",
    "Message": "records",
    "ModelConfig": "model.transformer",
    "Preference": "records",
    "Sampling": "records",
    "Tokenizer": "tokens.tokenizer",
    "estimate": "model.presets",
    "load_language_model": "model.hf",
    "preset": "model.presets",
    "train_tokenizer": "tokens.tokenizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jielong' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jielong.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

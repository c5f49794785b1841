"""The config of an engine: its parallelism, its number formats, and its shortcuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from jielong.errors import ConfigError
from jielong.generate.native import NativeDecoder, library
from jielong.model.config import ModelConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WEIGHTS = {"": None, **DTYPES, "int8": torch.int8}

BESIDE = 8
"""A smaller chunk of prompts is read where someone waits for another row's next token: this many times smaller."""


@dataclass(frozen=True)
class EngineConfig:
    """The settings of an engine: work per step, and number formats. With bfloat16 only matrix products use it; norms,
    softmax and the residual stream stay float32.

    A slot costs `length` x 2 x layers x key/value heads x head width numbers of cache, float32 on a CPU and `dtype`
    elsewhere (of a model with 30 layers, 3 heads and width 64: 45 KiB a position, 90 MiB for 2,048), and 12 bytes a
    position of ids and log-probabilities. Prefill needs a fixed amount beside that for prompts of any length:
    activations of `prefill_tokens` tokens and a few blocks of attention (`prefill_attention.SCORES`).
    """

    slots: int = 64
    length: int = 0
    """Positions of a slot, prompt and answer together; 0 is the model's `max_position_embeddings`."""
    dtype: str = "float32"
    weights: str = ""
    """In what the matrices are kept: "float32", "bfloat16", "int8" with a scale for each row, or "" for `dtype`."""
    prefill_tokens: int = 1024
    """Prompt tokens read in one step, an eighth of it while someone watches another row write."""
    bucket: int = 32
    """Attention sees the cache up to the longest row, rounded up to a multiple of this."""
    reuse: int = 16
    """A beginning at least so long that a slot holds already is not read again; 0 reads all but equal prompts anew.

    With it, rounding depends on what was read before: the last digits of a log-probability are not repeated.
    """
    lookup: int = 16
    """Tokens of one pass with which rows write drafts along; with more than half as many rows there are none. 0: never.

    A pass over this many tokens takes about as long as over one, as both wait for the weights; a busy engine has no
    such time to give away.
    """

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"engine dtype {self.dtype!r} is not available; expected one of {', '.join(DTYPES)}")
        if self.weights not in WEIGHTS:
            names = ", ".join(filter(None, WEIGHTS))
            raise ConfigError(
                f"engine weights {self.weights!r} are not available; expected {names}, or nothing for dtype"
            )
        for name in ("slots", "prefill_tokens", "bucket"):
            if getattr(self, name) < 1:
                raise ConfigError(f"engine option {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("reuse", "lookup"):
            if getattr(self, name) < 0:
                raise ConfigError(f"engine option {name} is {getattr(self, name)}; it must be 0 (off) or more")

    @classmethod
    def fast(cls, model: ModelConfig, device: torch.device, weights: str | None = None, **others: Any) -> EngineConfig:
        """Return the number formats that are fastest on `device` within a rounding to bfloat16, or those with
            `weights`.

        A processor without bfloat16 products computes in float32. If the C++ widens weights as it reads them, they are
        still kept in bfloat16, which halves the memory traffic.
        """
        has_products = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()
        if weights is None and not has_products:
            weights = "bfloat16" if library() is not None and NativeDecoder.supports(model, device) else "float32"
        dtype = "bfloat16" if has_products and weights != "float32" else "float32"
        return cls(dtype=dtype, weights=weights or "", **others)

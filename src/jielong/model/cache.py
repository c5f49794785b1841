"""The KV cache: keys and values of tokens already read, so that the next token costs one position and not all of them.

One tensor a layer, (2, slots, heads, length, width): keys, then values. A slot belongs to one sequence. A position is
written before any query may see it, so a slot needs no clearing before it is used again.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from jielong.model.transformer import ModelConfig

_LINE = 64
"""Bytes of a cache line, at which a layer begins, as torch's own memory does."""


class Cache:
    """A KV cache of `slots` sequences of up to `length` positions. Owns 2 * layers * slots * K * length * D numbers."""

    def __init__(
        self, config: ModelConfig, slots: int, length: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape = (2, slots, config.num_key_value_heads, length, config.head_dim)
        # zeros, not empty: a masked position has weight 0, and 0 times a stray NaN is NaN
        self.layers = [_zeros(shape, dtype, torch.device(device)) for _ in range(config.num_hidden_layers)]
        self.slots, self.length = slots, length
        self._by_position = [layer.permute(1, 3, 0, 2, 4) for layer in self.layers]

    @property
    def keys(self) -> list[Tensor]:
        """Each layer's (slots, K, length, D), a view."""
        return [layer[0] for layer in self.layers]

    @property
    def values(self) -> list[Tensor]:
        """Each layer's (slots, K, length, D), a view."""
        return [layer[1] for layer in self.layers]

    def write(self, layer: int, slots: Tensor, positions: Tensor, kv_N2KD: Tensor) -> None:
        """Put N keys and values at N (slot, position) pairs."""
        self._by_position[layer][slots, positions] = kv_N2KD

    def copy(self, sources: Tensor, targets: Tensor, length: int) -> None:
        """Copy the first `length` positions of the slots `sources` over the slots `targets`, pair by pair."""
        for layer in self.layers:
            layer[:, targets, :, :length] = layer[:, sources, :, :length]

    def swap(self, some: Tensor, others: Tensor, length: int) -> None:
        """Exchange the first `length` positions of the slots `some` and `others`, pair by pair."""
        to, of = torch.cat([some, others]), torch.cat([others, some])
        for layer in self.layers:
            layer[:, to, :, :length] = layer[:, of, :, :length]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocate zeros that cost no memory before they are written to, on a CPU.

    torch.zeros writes all of them: 6 GB, and 10 seconds, for 16 slots of 8,192 positions in a model of 135M parameters.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    num_bytes = math.prod(shape) * dtype.itemsize
    held = np.zeros(num_bytes + _LINE, np.uint8)
    first = -held.ctypes.data % _LINE
    return torch.from_numpy(held[first : first + num_bytes]).view(dtype).view(shape)

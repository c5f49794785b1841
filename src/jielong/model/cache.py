"""Keys and values of what was already read, so that the next token costs one position and not all of them.

One tensor a layer, (2, slots, heads, length, width): keys, then values. A slot belongs to one sequence. A position is
written before any query may see it, so a slot needs no clearing before it is used again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jielong.model.transformer import ModelConfig


class Cache:
    """`slots` sequences of up to `length` positions. Owns its memory: 2 * layers * slots * K * length * D numbers."""

    def __init__(
        self, config: ModelConfig, slots: int, length: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape = (2, slots, config.num_key_value_heads, length, config.head_dim)
        # zeros, not empty: a masked position has weight 0, and 0 times a stray NaN is NaN
        self.layers = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
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


class CacheView:
    """Slots `start`..`stop`-1 of a cache as the rows of one forward pass, seeing at most `length` positions."""

    def __init__(self, cache: Cache, start: int, stop: int, length: int) -> None:
        self.keys = [k[start:stop, :, :length] for k in cache.keys]
        self.values = [v[start:stop, :, :length] for v in cache.values]
        self.length = length
        self.rows = torch.arange(stop - start, device=cache.layers[0].device)[:, None]
        self._positions = self.rows

    def visible(self, positions: Tensor) -> Tensor:
        """(B, T, length) bool: which cached positions each new one sees, itself among them."""
        return torch.arange(self.length, device=positions.device) <= positions[:, :, None]

    def begin(self, positions: Tensor) -> None:
        """Say where (B, T) the coming keys and values belong."""
        self._positions = positions

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values; all (B, K, length, D) of the view come back."""
        keys, values = self.keys[layer], self.values[layer]
        keys.transpose(1, 2)[self.rows, self._positions] = k_BKTD.transpose(1, 2).to(keys.dtype)
        values.transpose(1, 2)[self.rows, self._positions] = v_BKTD.transpose(1, 2).to(values.dtype)
        return keys, values

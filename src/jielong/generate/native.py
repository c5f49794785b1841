"""The decoder's inner loop in C++, if it was built and supports all parts of the model.

`native/decoder.cpp` takes tokens through all layers in one call, or multiplies them with one matrix. This module makes
its inputs: the library for this processor, and the addresses of a packed model's tensors. Without a library (no
compiler at install, another processor) the packed model computes the same in torch.
"""
# N tokens of all rows, flattened, C hidden width, D width of one head, F width of the feed-forward block, V vocabulary.

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, byref, c_double, c_int64, c_void_p
from typing import ClassVar, Literal

import torch
from torch import Tensor

from jielong.generate.layers import PackedFeedForward, PackedLayer
from jielong.generate.matrices import KeptMatrix, Matrix, NativeLinear, address
from jielong.model.cache import Cache
from jielong.model.config import ModelConfig
from jielong.native.library import library as library


class _Layer(Structure):
    """One layer's addresses, in the layout of the C++ struct."""

    _fields_: ClassVar = [
        *((name, Matrix) for name in ("qkv", "o", "up", "down")),
        *((name, c_void_p) for name in ("qk_gain", "turns", "after_attention", "after_mlp")),
        ("window", c_int64),
    ]


class _Model(Structure):
    """A model's addresses, in the layout of the C++ struct."""

    _fields_: ClassVar = [
        *((name, c_int64) for name in ("num_layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int64) for name in ("is_gated", "is_gelu", "is_layer_norm")),
        ("hidden_floor", c_double),
        ("head_floor", c_double),
        ("embedding", c_void_p),
        ("positions", c_void_p),
        ("layers", POINTER(_Layer)),
    ]


def likeliest(logits: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the first largest id of each row of (B, V) float32, (B,) int64, and its log-probability (B,) float32.

    None without a library, or for logits that are not on the CPU.
    """
    native = library() if logits.device.type == "cpu" else None
    if native is None:
        return None
    logits, (B, V) = logits.contiguous(), logits.shape
    ids, logprobs = torch.empty(B, dtype=torch.long), torch.empty(B)
    pointers = (c_void_p(t.data_ptr()) for t in (ids, logprobs))
    native.jielong_likeliest(
        c_void_p(logits.data_ptr()), c_int64(B), c_int64(V), *pointers, c_int64(torch.get_num_threads())
    )
    return ids, logprobs


class NativeDecoder:
    """A packed model for the C++, by its tensors' addresses; rebuild it after loading weights.

    `turns` are the rotary tables by kind, `floors` are sqrt(width * eps) of the norms of hidden states and of heads.
    """

    def __init__(
        self,
        native: ctypes.CDLL,
        config: ModelConfig,
        layers: Sequence[PackedLayer],
        turns: Mapping[Literal["global", "local"], Tensor],
        floors: tuple[float, float],
        embedding: Tensor,
        positions: Tensor | None,
    ) -> None:
        self.native, self.config = native, config
        self.kept = (layers, embedding, positions)  # as long as the C++ reads there
        self.turns: dict[str, Tensor] = {kind: torch.view_as_real(table).contiguous() for kind, table in turns.items()}
        described = [self._fill_struct(index, layer) for index, layer in enumerate(layers)]
        self.layers = (_Layer * len(described))(*described)
        self.header = _Model(
            len(described),
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.gated_mlp,
            config.hidden_act != "silu",
            config.norm == "layer",
            *floors,
            address(embedding),
            address(positions),
            self.layers,
        )

    def _fill_struct(self, index: int, layer: PackedLayer) -> _Layer:
        """Fill the struct of one layer."""
        config, mlp = self.config, layer.mlp
        assert isinstance(mlp, PackedFeedForward)
        matrices = (_matrix_of(linear) for linear in (layer.qkv, layer.o, mlp.up, mlp.down))
        gains = [layer.qk_gain if config.qk_norm else None, self.turns.get(layer.rope)]
        after = [layer.after_attention, layer.after_mlp] if config.sandwich_norms else [None, None]
        window = config.sliding_window if index in config.sliding_layers else 0
        return _Layer(*matrices, *(address(t) for t in (*gains, *after)), window)

    @staticmethod
    def supports(config: ModelConfig, device: torch.device) -> bool:
        """Whether the C++ supports all parts of a model."""
        return device.type == "cpu" and not config.num_experts and not config.is_dynamic

    def extend(self, cache: Cache, ids: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
        """Process N ids at their (slot, position), store keys and values in the cache, and return hidden states (N, C)
        float32 for `logits`.

        A token sees its slot up to itself, so a slot's earlier tokens must be in the cache or come first.
        """
        hidden = torch.empty(len(ids), self.config.hidden_size)
        read = [t.contiguous() for t in (ids, slots, positions)]  # kept as long as the C++ reads them
        self.native.jielong_extend(
            byref(self.header),
            _addresses(cache.layers),
            c_int64(cache.slots),
            c_int64(cache.length),
            c_int64(len(ids)),
            *(c_void_p(t.data_ptr()) for t in read),
            c_void_p(hidden.data_ptr()),
            c_int64(torch.get_num_threads()),
        )
        return hidden

    def prefill(
        self, cache: Cache, ids: Tensor, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> Tensor:
        """Prefill several slots: `counts[i]` ids for each slot, from the position `starts[i]` on."""
        positions = torch.cat([torch.arange(start, start + n) for start, n in zip(starts, counts, strict=True)])
        return self.extend(cache, ids, torch.tensor(slots).repeat_interleave(torch.tensor(counts)), positions)


def _matrix_of(linear: KeptMatrix) -> Matrix:
    assert isinstance(linear, NativeLinear)
    return linear.matrix


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))

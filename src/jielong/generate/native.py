"""The decoder's inner loop in C++, where it was built and the model has nothing that it does not know.

`native/decoder.cpp` takes tokens through all layers in one call, or multiplies them with one matrix. Here is what it needs: the
library for this processor, and a packed model's tensors as addresses. Without a library (no compiler at install, another
processor) the packed model computes the same in torch.
"""
# N tokens of all rows in one line, C hidden width, D width of one head, F width of the feed-forward block, V vocabulary.

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_int64, c_void_p
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.model.quantised import int8_rows
from jielong.native.library import library as library

if TYPE_CHECKING:
    from jielong.generate.packed import Linear, PackedFeedForward, PackedModel
    from jielong.model.cache import Cache
    from jielong.model.transformer import ModelConfig

_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class _Matrix(Structure):
    _fields_: ClassVar = [
        ("weight", c_void_p),
        ("scale", c_void_p),
        ("total", c_void_p),
        ("bias", c_void_p),
        ("rows", c_int64),
        ("columns", c_int64),
        ("type", c_int64),
    ]


class _Layer(Structure):
    _fields_: ClassVar = [
        *((name, _Matrix) for name in ("qkv", "o", "up", "down")),
        *((name, c_void_p) for name in ("qk_gain", "turns", "after_attention", "after_mlp")),
        ("window", c_int64),
    ]


class _Model(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("num_layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int64) for name in ("is_gated", "is_gelu", "is_layer_norm")),
        ("hidden_floor", c_double),
        ("head_floor", c_double),
        ("embedding", c_void_p),
        ("positions", c_void_p),
        ("layers", POINTER(_Layer)),
    ]


def _address(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    return tensor.data_ptr()


ROWS = LINES = 16
"""Rows of a panel, the lanes of the vectors in the C++, and lines of a tile."""


def panels(weight: Tensor) -> Tensor:
    """(rows / 16, columns / n, 16, n), where n numbers have 4 bytes: `weight` (O, I), zeros after it, as it is read.

    A line of 64 bytes has the next n columns of each of 16 rows; lines come in sixteens.
    """
    n = 4 // weight.element_size()
    rows, columns = weight.shape
    whole = F.pad(weight, (0, -columns % (LINES * n), 0, -rows % ROWS))
    return whole.view(len(whole) // ROWS, ROWS, -1, n).transpose(1, 2).contiguous()


def padded(of_rows: Tensor) -> Tensor:
    """(O,) with zeros after it, for whole panels."""
    return F.pad(of_rows, (0, -len(of_rows) % ROWS)).contiguous()


class NativeLinear:
    """x @ weight.T + bias in the C++, with the weight in `dtype`; x and the result are float32. `load` replaces them.

    As int8 a row of the weight has one scale; x is rounded to 16 bits for its largest number.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.library, self.dtype = library, dtype

    def load(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.rows, columns = weight.shape
        self.scale = self.total = None
        if self.dtype == torch.int8:
            weight, scale = int8_rows(weight)
            self.scale, self.total = padded(scale), padded(weight.sum(1, dtype=torch.int32))
        self.bias = None if bias is None else padded(bias.float())
        self.weight = panels(weight.to(self.dtype))
        addresses = (_address(t) for t in (self.weight, self.scale, self.total, self.bias))
        self.matrix = _Matrix(*addresses, self.rows, columns, _TYPES[self.dtype])

    def __call__(self, x: Tensor) -> Tensor:
        x, out = x.contiguous(), torch.empty(len(x), self.rows)  # a copy is kept as long as the C++ reads it
        places = (c_void_p(t.data_ptr()) for t in (x, out))
        self.library.jielong_linear(byref(self.matrix), c_int64(len(x)), *places, c_int64(torch.get_num_threads()))
        return out


def likeliest(logits: Tensor) -> tuple[Tensor, Tensor] | None:
    """Of each row of (B, V) float32 the first of the largest (B,) int64 and its log-probability (B,) float32, or None.

    None where there is no library, or the logits lie elsewhere.
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
    """A packed model's addresses; made anew after its weights were loaded."""

    def __init__(self, model: PackedModel, native: ctypes.CDLL) -> None:
        config = model.config
        self.native, self.model = native, model
        self.turns: dict[str, Tensor] = {
            kind: torch.view_as_real(table).contiguous() for kind, table in model.turns.items()
        }
        layers = []
        for index, layer in enumerate(model.layers):
            mlp: PackedFeedForward = layer.mlp  # type: ignore[assignment]
            matrices = (_matrix_of(linear) for linear in (layer.qkv, layer.o, mlp.up, mlp.down))
            gains = [layer.qk_gain if config.qk_norm else None, self.turns.get(layer.rope)]
            after = [layer.after_attention, layer.after_mlp] if config.sandwich_norms else [None, None]
            window = config.sliding_window if index in config.sliding_layers else 0
            layers.append(_Layer(*matrices, *(_address(t) for t in (*gains, *after)), window))
        self.layers = (_Layer * len(layers))(*layers)
        self.header = _Model(
            len(layers),
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.gated_mlp,
            config.hidden_act != "silu",
            config.norm == "layer",
            float(model.hidden_norm.floor),
            float(model.head_norm.floor),
            _address(model.embedding),
            _address(model.positions) if config.learned_positions else None,
            self.layers,
        )

    @staticmethod
    def knows(config: ModelConfig, device: torch.device) -> bool:
        """Whether a model is made of nothing but what the C++ has."""
        return device.type == "cpu" and not config.num_experts and not config.is_dynamic

    def extend(self, cache: Cache, ids: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
        """Hidden states (N, C) float32 for `logits`, after writing N ids at their (slot, position) into the cache.

        A token sees its slot up to itself: of several tokens of one slot, the earlier ones must be there or come first.
        """
        hidden = torch.empty(len(ids), self.model.config.hidden_size)
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

    def read(
        self, cache: Cache, ids: Tensor, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> Tensor:
        """`extend` by stretches: `counts[i]` ids for each slot, from the position `starts[i]` on."""
        positions = torch.cat([torch.arange(start, start + n) for start, n in zip(starts, counts, strict=True)])
        return self.extend(cache, ids, torch.tensor(slots).repeat_interleave(torch.tensor(counts)), positions)


def _matrix_of(linear: Linear) -> _Matrix:
    assert isinstance(linear, NativeLinear)
    return linear.matrix


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))

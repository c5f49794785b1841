"""The linear maps of a packed model, x @ weight.T + bias, in torch's layout or in that of the C++.

In torch the weights lie in oneDNN's own order if that is faster; for the C++ in panels of 16 rows, which is how its
vectors and tiles go through them. `load` replaces the stored tensors, in place if a captured GPU graph may read them.
"""
# N tokens of all rows, flattened, O rows and I columns of a weight.

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_int64, c_void_p
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.model.quantised import int8_rows

_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class Matrix(Structure):
    """A matrix as a struct of `native/decoder.cpp`, field by field."""

    _fields_: ClassVar = [
        ("weight", c_void_p),
        ("scale", c_void_p),
        ("total", c_void_p),
        ("bias", c_void_p),
        ("rows", c_int64),
        ("columns", c_int64),
        ("type", c_int64),
    ]


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a contiguous CPU tensor, None for None."""
    if tensor is None:
        return None
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    return tensor.data_ptr()


ROWS = LINES = 16
"""Rows of a panel, the lanes of the vectors in the C++, and lines of a tile."""


def to_panels(weight: Tensor) -> Tensor:
    """Lay out a `weight` (O, I) for the C++ as (rows / 16, columns / n, 16, n), padded with zeros; n numbers take 4
    bytes.

    A line of 64 bytes has the next n columns of each of 16 rows; the number of lines is a multiple of 16.
    """
    n = 4 // weight.element_size()
    rows, columns = weight.shape
    whole = F.pad(weight, (0, -columns % (LINES * n), 0, -rows % ROWS)).contiguous()
    # n numbers move as one of 4 bytes: several times as fast as one by one
    fours = whole.view(torch.int32).view(len(whole) // ROWS, ROWS, -1).transpose(1, 2).contiguous()
    return fours.view(weight.dtype).view(len(fours), -1, ROWS, n)


def padded(of_rows: Tensor) -> Tensor:
    """Pad (O,) with zeros to whole panels."""
    return F.pad(of_rows, (0, -len(of_rows) % ROWS)).contiguous()


def store_in_place(owner: object, name: str, new: Tensor) -> None:
    """Store `new` as the owner's tensor of this name, in the old tensor's memory, which a captured graph may read."""
    old: Tensor | None = getattr(owner, name, None)
    setattr(owner, name, new.contiguous() if old is None else old.copy_(new))


class PackedLinear:
    """x @ weight.T + bias in torch, with parameters of its own; `load` replaces them.

    The weight is stored in the dtype `kept`; as int8 each row has one scale. Activations stay in `dtype`.
    """

    weight: Tensor

    def __init__(self, dtype: torch.dtype, device: torch.device, kept: torch.dtype | None = None) -> None:
        self.dtype, self.device, self.kept = dtype, device, kept or dtype
        self.is_reordered = device.type == "cpu" and self.kept == dtype and _reorders(dtype)
        # oneDNN's float32 call is slower for one row than the plain one, its bf16 call is not
        self.reordered_from = 2 if dtype == torch.float32 else 1
        self.bias: Tensor | None = None
        self.scale: Tensor | None = None

    def load(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Store weight and bias, quantised or reordered as configured."""
        if bias is not None:
            store_in_place(self, "bias", bias.to(self.dtype))
        if self.kept == torch.int8:
            weight, scale = int8_rows(weight)
            store_in_place(self, "scale", scale)
        store_in_place(self, "weight", weight.to(self.kept))
        if self.is_reordered:
            self.reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, 32)

    def __call__(self, x: Tensor) -> Tensor:
        if self.is_reordered and x.shape[0] >= self.reordered_from:
            return torch.ops.mkldnn._linear_pointwise(x, self.reordered, self.bias, "none", [], "")
        if self.scale is None:
            return F.linear(x, self.weight.to(x.dtype), self.bias)
        # small integers are exact in bfloat16; the scale comes after the product
        out = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return out if self.bias is None else out + self.bias


def _reorders(dtype: torch.dtype) -> bool:
    """Whether oneDNN can reorder weights of this dtype on this processor; for bfloat16 it needs AVX512."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class NativeLinear:
    """x @ weight.T + bias in the C++, with the weight in `dtype`; x and the result are float32. `load` replaces them.

    As int8 each row of the weight has one scale, and x is rounded to 16 bits, scaled by its largest number.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.library, self.dtype = library, dtype

    def load(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Store weight and bias in panels, quantised as configured, with their addresses."""
        self.rows, columns = weight.shape
        self.scale = self.total = None
        if self.dtype == torch.int8:
            weight, scale = int8_rows(weight)
            self.scale, self.total = padded(scale), padded(weight.sum(1, dtype=torch.int32))
        self.bias = None if bias is None else padded(bias.float())
        self.weight = to_panels(weight.to(self.dtype))
        addresses = (address(t) for t in (self.weight, self.scale, self.total, self.bias))
        self.matrix = Matrix(*addresses, self.rows, columns, _TYPES[self.dtype])

    def __call__(self, x: Tensor) -> Tensor:
        x, out = x.contiguous(), torch.empty(len(x), self.rows)  # a copy is kept as long as the C++ reads it
        places = (c_void_p(t.data_ptr()) for t in (x, out))
        self.library.jielong_linear(byref(self.matrix), c_int64(len(x)), *places, c_int64(torch.get_num_threads()))
        return out


KeptMatrix: TypeAlias = PackedLinear | NativeLinear

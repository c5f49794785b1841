"""Attention for training in C++, which keeps no weights of a whole row: a torch operation with its gradient."""
# B rows, T positions, H query heads, K key/value heads, D width of one head.

from __future__ import annotations

from ctypes import Structure, byref, c_double, c_int64, c_void_p
from typing import Any, ClassVar

import torch
from torch import Tensor

from jielong.native.library import library


class _Attention(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("rows", "length", "heads", "kv_heads", "width")),
        ("scale", c_double),
        *((name, c_void_p) for name in ("q", "k", "v", "first", "out", "norms")),
        *((name, c_void_p) for name in ("grad_out", "grad_q", "grad_k", "grad_v")),
    ]


_NAMES = {torch.float32: "jielong_attend", torch.bfloat16: "jielong_attend_half"}


def has_attention(dtype: torch.dtype) -> bool:
    """Whether `attention` of this dtype can run here: the C++ was built, and for bfloat16 the processor multiplies it."""
    native = library()
    return native is not None and dtype in _NAMES and hasattr(native, _NAMES[dtype])


def limit_to_window(first_BT: Tensor, window: int) -> Tensor:
    """Return the first position that each one sees, at most `window` back; 0 is no limit."""
    T = first_BT.shape[1]
    return first_BT.maximum(torch.arange(1 - window, T + 1 - window, dtype=torch.int32)) if window else first_BT


def attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, first_BT: Tensor, scale: float) -> Tensor:
    """Softmax attention (B, T, H, D) where position t sees the keys first_BT[t] .. t of its row; all of one dtype.

    `first_BT` int32 never falls within a row. Scores, softmax and sums are float32.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        out: Tensor = _forward(q_BTHD, k_BTKD, v_BTKD, first_BT, scale)[0]
        return out
    # the first call of an operation of our own has torch load its compiler, which takes seconds
    return _attend(q_BTHD, k_BTKD, v_BTKD, first_BT, scale)[0]


def _call_library(suffix: str, tensors: dict[str, Tensor], scale: float) -> None:
    """Call the C++ kernel with this suffix on contiguous tensors, by their addresses."""
    B, T, H, D = tensors["q"].shape
    name = _NAMES[tensors["q"].dtype] + suffix
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    places = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    structure = _Attention(B, T, H, tensors["k"].shape[2], D, scale, **places)
    getattr(library(), name)(byref(structure), c_int64(torch.get_num_threads()))


def _attend(q: Tensor, k: Tensor, v: Tensor, first: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the attention output, and the norms (B, H, 2, T) float32 that the gradient needs."""
    tensors = {"q": q.contiguous(), "k": k.contiguous(), "v": v.contiguous(), "first": first.contiguous()}
    out, norms = _forward_like(q, k, v, first, scale)
    _call_library("", tensors | {"out": out, "norms": norms}, scale)
    return out, norms


_forward = torch.library.custom_op("jielong::attention", _attend, mutates_args=())


@_forward.register_fake
def _forward_like(q: Tensor, k: Tensor, v: Tensor, first: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    B, T, H, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((B, H, 2, T), dtype=torch.float32)


@torch.library.custom_op("jielong::attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, first: Tensor, out: Tensor, norms: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v."""
    given = {"q": q, "k": k, "v": v, "first": first, "out": out, "norms": norms, "grad_out": grad_out}
    made = _backward_like(grad_out, q, k, v, first, out, norms, scale)
    tensors = {name: tensor.contiguous() for name, tensor in given.items()}
    _call_library("_backward", tensors | dict(zip(("grad_q", "grad_k", "grad_v"), made, strict=True)), scale)
    return made


@_backward.register_fake
def _backward_like(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, first: Tensor, out: Tensor, norms: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradient(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
    return *_backward(grad_out, *ctx.saved_tensors, ctx.scale), None, None


_forward.register_autograd(_gradient, setup_context=_save_for_backward)

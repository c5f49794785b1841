"""Cross-entropy of logits in the C++, with its gradient in their place, and sums of such gradients."""

from __future__ import annotations

from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from jielong.native.library import library


def cross_entropy_(
    logits: Tensor, targets: Tensor, weights: Tensor, has_gradient: bool
) -> tuple[Tensor, Tensor] | None:
    """Return -log softmax of rows of `logits` (N, V) at `targets` (N,) int64, as (N,) float32, and whether each target
    is a largest logit.

    With `has_gradient` the logits are overwritten with the gradients of `weights` (N,) float32 times the loss. Returns
    None, and does nothing, if there is no library, or the logits are neither float32 nor bfloat16 or not on the CPU.
    """
    native = library() if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.bfloat16) else None
    if native is None:
        return None
    targets, weights = targets.contiguous(), weights.float().contiguous()
    assert logits.is_contiguous() and targets.dtype == torch.int64
    N, V = logits.shape
    losses, are_right = torch.empty(N), torch.empty(N, dtype=torch.bool)
    native.jielong_cross_entropy(
        c_void_p(logits.data_ptr()),
        c_int64(logits.dtype == torch.bfloat16),
        c_int64(N),
        c_int64(V),
        c_void_p(targets.data_ptr()),
        c_void_p(weights.data_ptr()),
        c_int64(has_gradient),
        c_void_p(losses.data_ptr()),
        c_void_p(are_right.data_ptr()),
        c_int64(torch.get_num_threads()),
    )
    return losses, are_right


def add_(total: Tensor, part: Tensor) -> None:
    """Add `part` to `total` in place, both of one shape; a float32 total and a bfloat16 part without a copy, which
    torch would make.
    """
    native = library() if total.device.type == "cpu" else None
    if native is None or (total.dtype, part.dtype) != (torch.float32, torch.bfloat16):
        total += part
        return
    assert total.is_contiguous() and part.is_contiguous() and total.shape == part.shape
    places = (c_void_p(tensor.data_ptr()) for tensor in (total, part))
    native.jielong_add(*places, c_int64(total.numel()), c_int64(torch.get_num_threads()))

"""Products that are known to be symmetric, of which the C++ computes half."""

from __future__ import annotations

from ctypes import c_float, c_int64, c_void_p

import torch
from torch import Tensor

from jielong.native.library import library

BLOCK = 32
_NAMES = {torch.float32: "jielong_symmetric", torch.bfloat16: "jielong_symmetric_half"}


def symmetric(a: Tensor, b: Tensor, added: Tensor | None = None, alpha: float = 1.0, beta: float = 0.0) -> Tensor:
    """Return alpha a b' + beta added (n, n); the caller knows that both are symmetric. a and b are (n, m), all of one
    dtype.

    Sums are float32. Torch computes all of it if the C++ was not built or the processor does not multiply the dtype,
    for tensors elsewhere, and for sizes that are not multiples of 32.
    """
    n, m = a.shape
    can = a.device.type == "cpu" and a.dtype in _NAMES and n % BLOCK == m % BLOCK == 0
    compute = getattr(library(), _NAMES[a.dtype], None) if can else None
    if compute is None:
        if added is not None:
            return torch.addmm(added, a, b.T, beta=beta, alpha=alpha)
        return a @ b.T if alpha == 1.0 else alpha * (a @ b.T)
    a, b = a.contiguous(), b.contiguous()
    assert a.shape == b.shape and a.dtype == b.dtype
    out = a.new_empty(n, n)
    if added is not None:
        added = added.contiguous()
        assert added.shape == out.shape and added.dtype == out.dtype
    compute(
        c_void_p(a.data_ptr()),
        c_void_p(b.data_ptr()),
        c_void_p(added.data_ptr() if added is not None else None),
        c_float(alpha),
        c_float(beta),
        c_void_p(out.data_ptr()),
        c_int64(n),
        c_int64(m),
        c_int64(torch.get_num_threads()),
    )
    return out

"""The Muon optimizer: momentum of matrices, orthogonalised before it becomes an update (Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from jielong.native.symmetric import symmetric

A, B, C = 3.4445, -4.7750, 2.0315
"""Of the polynomial a x + b x^3 + c x^5 on singular values, which five times takes nearly all of (0, 1] near 1."""
TIMES, SMALLEST = 5, 1e-7


def orthogonalised(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return nearly U V' of the singular value decomposition U S V' of `matrix` (n, m): values of 0.7 to 1.2 in place
    of 1.

    Products are in `dtype`, which is that of the result. In float32 a matrix much wider than high is multiplied with
    one polynomial of its Gram matrix, and the five iterations are on that: with m = 3n two thirds of the products. In
    bfloat16 the Gram matrix of a Gram matrix would be too coarse.
    """
    x = matrix.to(dtype)
    if x.shape[0] > x.shape[1]:
        x = x.T.contiguous()
    x = x / x.norm().clamp(min=SMALLEST)
    if dtype == torch.float32 and 3 * x.shape[0] < 2 * x.shape[1]:
        x = _polynomial(symmetric(x, x)) @ x
    else:
        for _ in range(TIMES):
            gram = symmetric(x, x)
            x = torch.addmm(x, symmetric(gram, gram, gram, alpha=C, beta=B), x, beta=A)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _polynomial(gram: Tensor) -> Tensor:
    """Return the matrix P (n, n) by which all iterations together multiply x, where `gram` is x x'. All factors are
    polynomials of it and commute.
    """
    found = None
    for time in range(TIMES):
        factor = symmetric(gram, gram, gram, alpha=C, beta=B)
        factor.diagonal().add_(A)
        found = factor if found is None else factor @ found
        if time + 1 < TIMES:
            gram = symmetric(factor @ gram, factor)
    assert found is not None
    return found


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, orthogonalised with products in `dtype`, times sqrt(max(1, rows / columns)); weights decay by
    themselves."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, weight_decay: float, dtype: torch.dtype, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all matrices with orthogonalised momentum and weight decay."""
        assert closure is None
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = orthogonalised(weight.grad.lerp(mean, momentum), self.dtype)
                weight.mul_(1 - lr * group["weight_decay"])
                weight.add_(update, alpha=-lr * math.sqrt(max(1.0, weight.shape[0] / weight.shape[1])))

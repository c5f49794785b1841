"""Frozen matrices in fewer bytes: int8 with one scale for each output row, or the dtype that products are made in.

A matrix that is not trained need not be float32. In the compute dtype it gives the very numbers it gave before, since
each product rounded it to that dtype anyway; in int8 it takes a quarter of float32's bytes and moves every weight by at
most half a step, which is 1/254 of the largest weight in its row. Small integers are exact in bfloat16, so an int8 matrix
is multiplied as it is and the scale comes afterwards; the backward pass widens the matrix again instead of keeping a wide
copy. Embeddings, norms and the head stay as they are.
"""
# N tokens of any leading shape, I inputs, O outputs.

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from jielong.model.transformer import LanguageModel, Linear

ROUTERS = ("gate",)
"""Last names of matrices that choose experts: a choice is a jump, so they are neither rounded nor adapted."""


class _Int8Product(torch.autograd.Function):
    """x @ (weight * scale)^T for int8 `weight` (O, I); the gradient goes to x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return (x @ weight.to(x.dtype).T) * scale.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        return (grad * scale.to(grad.dtype)) @ weight.to(grad.dtype), None, None


def int8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise `weight` (O, I) to int8, with a scale (O,) float32 for each row.

    The scale is the row's largest magnitude / 127, rounded up to a bfloat16 number, so that multiplying with it in
    bfloat16 rounds once and not twice.
    """
    full = weight.detach().float()
    largest = full.abs().amax(dim=1).clamp_min(1e-12)
    # the next bfloat16 number at or above: add all the bits that are cut off, then cut them
    bits = (largest / 127).view(torch.int32)
    scale = ((bits + 0xFFFF) & ~0xFFFF).view(torch.float32)
    return (full / scale[:, None]).round_().to(torch.int8), scale


class QuantisedLinear(nn.Module):
    """A frozen linear map: `weight` (O, I) int8 and `scale` (O,) float32 as `int8_rows` makes them, `bias` as it was."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = int8_rows(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, _Int8Product.apply(x, self.weight, self.scale))
        return out if self.bias is None else out + self.bias.to(x.dtype)

    def full_weight(self) -> Tensor:
        """The weight (O, I) float32 that this computes with."""
        return cast(Tensor, self.weight).float() * cast(Tensor, self.scale)[:, None]


def full_weight(linear: nn.Module) -> Tensor:
    """Return the weight (O, I) float32 that a plain or int8 linear map computes with."""
    return linear.full_weight() if isinstance(linear, QuantisedLinear) else cast(Tensor, linear.weight).float()


def decoder_linears(model: LanguageModel) -> dict[str, nn.Module]:
    """Return the linear maps of the layers by their full names, plain or int8, without the routers of experts."""
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Linear | QuantisedLinear) and ".layers." in name
    }
    return {name: module for name, module in found.items() if name.rpartition(".")[2] not in ROUTERS}


def replace_module(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where the one called `name` was."""
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, module)


def quantise(model: LanguageModel) -> None:
    """Turn the layers' matrices into int8, one after the other, in place; nothing of `model` is trained after that."""
    model.requires_grad_(False)
    for name, module in decoder_linears(model).items():
        if isinstance(module, Linear):
            replace_module(model, name, QuantisedLinear(module))


def narrow(model: LanguageModel, dtype: torch.dtype) -> None:
    """Convert the layers' matrices to `dtype`, in place; where that is the compute dtype, no number changes."""
    model.requires_grad_(False)
    for module in decoder_linears(model).values():
        if isinstance(module, Linear):
            module.weight = nn.Parameter(module.weight.detach().to(dtype), requires_grad=False)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, each once."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    return sum(t.numel() * t.element_size() for t in tensors.values())

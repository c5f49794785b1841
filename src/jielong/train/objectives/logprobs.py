"""Log-probabilities of a batch's targets and their cross-entropy, computed at trained positions only.

The head is the larger part of a small model's work, so logits exist for a chunk of positions at a time, and their
gradients are made in the forward pass. Positions of weight 0 are never looked at: a NaN there does no harm.
"""
# B rows, T columns, N trained positions or sequences of a micro-batch, C hidden width, V vocabulary.

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jielong.data.batches import Batch
from jielong.losses import token_logprobs
from jielong.model.transformer import LanguageModel
from jielong.native.cross_entropy import add_, cross_entropy_

CHUNK_TOKENS, GPU_CHUNK_TOKENS = 512, 4096
"""Positions whose logits exist at one time. 512 was the fastest of 128..4096 on a CPU at V = 4096, in bf16 and float32.

A GPU wants large products; 4096 by 50,000 logits in bf16 are 400 MB."""


class NegativeLogLikelihood(torch.autograd.Function):
    """An autograd function: sum of -log softmax(h W^T)[target] * weight over N positions, and how many targets are the
    argmax.

    The gradients are made in the forward pass, chunk by chunk, so that no (N, V) tensor outlives its chunk and no logit
    is computed twice. They are scaled by the incoming gradient afterwards, which is one number. The result has the
    dtype of h.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NC: Tensor, head: Tensor, targets: Tensor, weights: Tensor, is_compiled: bool
    ) -> tuple[Tensor, Tensor]:
        """Compute loss, hits and both gradients, chunk by chunk."""
        head_VC = head.to(hidden_NC.dtype)
        has_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        total = torch.zeros((), device=hidden_NC.device)
        num_right = torch.zeros((), device=hidden_NC.device)
        grad_hidden = torch.empty_like(hidden_NC) if has_gradient else None
        grad_head = torch.zeros(head_VC.shape, device=head_VC.device) if ctx.needs_input_grad[1] else None
        is_on_cpu = hidden_NC.device.type == "cpu"  # where the C++ does what a compiler would
        cross_entropy = compiled_cross_entropy() if is_compiled and not is_on_cpu else _cross_entropy
        size = CHUNK_TOKENS if is_on_cpu else GPU_CHUNK_TOKENS
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = hidden_NC[part] @ head_VC.T
            losses, are_right = cross_entropy(logits, targets[part], weights[part], has_gradient)
            total += (losses * weights[part]).sum()
            num_right += (are_right * weights[part]).sum()
            if grad_hidden is not None:
                torch.mm(logits, head_VC, out=grad_hidden[part])
            if grad_head is not None:
                add_(grad_head, logits.T @ hidden_NC[part])
        if grad_hidden is not None:
            ctx.save_for_backward(grad_hidden, None if grad_head is None else grad_head.to(head.dtype))
        ctx.mark_non_differentiable(num_right)
        return total, num_right

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        # in place: of a large vocabulary a second one would cost as much time as the products of a layer
        return grad_hidden * grad_total, None if grad_head is None else grad_head.mul_(grad_total), None, None, None


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, has_gradient: bool) -> tuple[Tensor, Tensor]:
    """Return -log softmax at the targets of rows (N, V), float32, and whether the targets are the largest.

    With `has_gradient` the logits are overwritten with the gradients of weight times the loss. Float32 within: bf16
    loses the tail of the vocabulary.
    """
    found = cross_entropy_(logits, targets, weights, has_gradient)
    if found is not None:
        return found
    target, weight = targets[:, None], weights[:, None]
    scores = logits.float()
    largest, right = scores.amax(-1, keepdim=True), scores.gather(1, target)
    exponentials = (scores - largest).exp_()
    norm = exponentials.sum(-1, keepdim=True)
    if has_gradient:
        gradients = exponentials.mul_(weight / norm)
        logits.copy_(gradients.scatter_(1, target, gradients.gather(1, target) - weight))
    return (norm.log() + largest - right)[:, 0], (right == largest)[:, 0]


def fusible_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, has_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Compute `_cross_entropy` in a form for compilers: without a scatter, so that logits are read twice and written
    once.
    """
    scores = logits.float()
    right, largest, norm = scores.gather(1, targets[:, None])[:, 0], scores.amax(-1), scores.logsumexp(-1)
    if has_gradient:
        is_target = (torch.arange(logits.shape[1], device=logits.device) == targets[:, None]).float()
        logits.copy_(((scores - norm[:, None]).exp() - is_target) * weights[:, None])
    return norm - right, right == largest


@functools.cache
def compiled_cross_entropy() -> Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """Return `fusible_cross_entropy` compiled for this device."""
    return torch.compile(fusible_cross_entropy)


@torch.no_grad()
def compiled_cross_entropy_matches(model: LanguageModel) -> bool:
    """Whether the compiled cross-entropy over the model's vocabulary equals the eager one here, within rounding;
    gradients too.
    """
    generator = torch.Generator().manual_seed(0)
    shape, device, dtype = (64, model.config.vocab_size), model.head.device, model.model.compute_dtype
    logits = (4 * torch.randn(shape, generator=generator)).to(device, dtype)
    targets = torch.randint(0, shape[1], shape[:1], generator=generator).to(device)
    weights = torch.rand(shape[0], generator=generator).to(device)
    plain, compiled = logits.clone(), logits
    losses, _ = _cross_entropy(plain, targets, weights, True)
    found, _ = compiled_cross_entropy()(compiled, targets, weights, True)
    return torch.allclose(found, losses, rtol=1e-4, atol=1e-4) and bool(
        (compiled.float() - plain.float()).norm() <= 0.01 * plain.float().norm()
    )


def trained_logprobs(model: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return log-probabilities (N,) float32 of the targets whose weight is not 0, in row order, at a sampling
    temperature.

    `model` gives hidden states and has `logits`; with many positions these are recomputed in the backward pass.
    """
    language_model = cast(LanguageModel, model)
    trained = trained_positions(batch)
    hidden_NC = language_model(batch.inputs, batch.positions, batch.segments)[trained]
    targets = batch.targets[trained]

    def logprobs(hidden: Tensor, target: Tensor) -> Tensor:
        logits = language_model.logits(hidden)
        return token_logprobs(logits if temperature == 1.0 else logits.float() / temperature, target)

    if len(targets) <= 4 * CHUNK_TOKENS or not torch.is_grad_enabled():
        parts = [logprobs(*part) for part in _chunks(hidden_NC, targets)]
    else:
        parts = [checkpoint(logprobs, *part, use_reentrant=False) for part in _chunks(hidden_NC, targets)]
    return torch.cat(parts)


def sequence_logprobs(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the log-probability of the trained targets of each sequence, and their number; (N,) float32, in the order
    of `ends`.

    Sequences are rows, or share rows. One without a trained target has 0 of both.
    """
    trained = trained_positions(batch)
    weights, ends = batch.weights[trained], batch.ends
    rows, columns = ends // batch.length, ends % batch.length
    segments = batch.segments.long()
    number = segments.new_zeros(batch.num_rows, int(segments.max()) + 1)
    number[rows, segments[rows, columns]] = torch.arange(len(ends), device=ends.device)
    sequence = number.gather(1, segments)[trained]
    logprobs = trained_logprobs(model, batch)
    sums = logprobs.new_zeros(len(ends)).index_add(0, sequence, logprobs * weights)
    return sums, weights.new_zeros(len(ends)).index_add(0, sequence, weights)


def trained_positions(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the positions whose weight is not 0.

    Counting them waits for a GPU: before the model runs, only the previous micro-batch has to end.
    """
    rows, columns = (batch.weights != 0).nonzero(as_tuple=True)
    return rows, columns


def _chunks(hidden_NC: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(hidden_NC.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True))

"""What a GPU is told of packed rows: blocks of keys, and layers compiled with them."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo
import torch._dynamo.testing
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.nn.attention.flex_attention import create_mask

from jielong.model.attention import BLOCK, attend, make_block_mask
from jielong.model.transformer import Layer, ModelConfig
from jielong.train.machine import has_compiler
from jielong.train.objectives.logprobs import compiled_cross_entropy, fusible_cross_entropy

# of torch, on importing its compiler
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")

CONFIG = ModelConfig(64, 64, 96, 1, 4, 2, 16, 512)


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="nothing is compiled here")


def dense(segments: Tensor, window: int) -> Tensor:
    """The mask (B, T, T) by its definition."""
    T = segments.shape[1]
    seen = torch.ones(T, T, dtype=torch.bool).tril() & (segments[:, :, None] == segments[:, None])
    return seen & torch.ones(T, T, dtype=torch.bool).triu(1 - window) if window else seen


def listed(counts: Tensor, which: Tensor) -> Tensor:
    """(B, n, n) whether a block of keys is listed for a block of queries."""
    found = torch.zeros(which.shape, dtype=torch.bool)
    for place in torch.cartesian_prod(*(torch.arange(size) for size in counts.shape)).tolist():
        found[tuple(place)][which[tuple(place)][: counts[tuple(place)]].long()] = True
    return found[:, 0]


def rows(kind: str, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    drawn = torch.randint(0, 5, (3, length), generator=generator)
    return {"packed": drawn.sort(dim=1).values, "in pieces": drawn, "whole": torch.ones_like(drawn)}[kind]


@pytest.mark.parametrize("window", [0, 1, 100, 128, 129, 300])
@pytest.mark.parametrize("kind", ["packed", "in pieces", "whole"])
@pytest.mark.parametrize("length", [128, 500])
def test_blocks_hold_all_that_is_seen_and_nothing_else(length: int, kind: str, window: int) -> None:
    segments = rows(kind, length)
    blocks, seen = make_block_mask(segments, window), dense(segments, window)
    assert (create_mask(blocks.mask_mod, 3, None, length, length, device="cpu")[:, 0] == seen).all()
    n = -(-length // BLOCK)
    padded = torch.zeros(3, n * BLOCK, n * BLOCK, dtype=torch.bool)
    padded[:, :length, :length] = seen
    pairs = padded.view(3, n, BLOCK, n, BLOCK).transpose(2, 3).flatten(3)
    some = listed(blocks.kv_num_blocks, blocks.kv_indices)
    full = listed(blocks.full_kv_num_blocks, blocks.full_kv_indices)
    assert not (some & full).any()
    assert ((some | full) >= pairs.any(-1)).all(), "every pair that is seen lies in a listed block"
    assert (full <= pairs.all(-1)).all(), "a full block is not looked into"
    if kind == "whole" and window in (0, 300):
        assert full.sum() == pairs.all(-1).sum()
        assert some.sum() == (pairs.any(-1) & ~pairs.all(-1)).sum()
    # and the other way round, for the gradients of keys
    assert (listed(blocks.q_num_blocks, blocks.q_indices) == some.transpose(1, 2)).all()


@pytest.mark.parametrize("window", [0, 70])
def test_layers_compiled_with_blocks_attend_like_a_mask_and_compile_once(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch refuses gradients of this on a CPU, where it has no kernel for them; the formula they are taken from is the same
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    layer = Layer(CONFIG)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    layer.compile(dynamic=False, fullgraph=True, backend=counter)
    for start in range(3):
        segments = rows("packed", 300).roll(7 * start, dims=1)
        x, weights = (torch.randn(3, 300, 64, generator=generator) for _ in range(2))
        results = []
        for run, seen in ((layer.forward, dense(segments, window)), (layer, make_block_mask(segments, window))):
            given = x.clone().requires_grad_()
            out = run(given, None, seen, torch.float32)
            results.append([out, *torch.autograd.grad(out, [given, *layer.parameters()], weights)])
        for plain, compiled in zip(*results, strict=True):
            assert (compiled - plain).norm() <= 1e-5 * plain.norm()
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_blocks_attend_uncompiled_too() -> None:
    segments = rows("packed", 300)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 300, heads, 16, generator=generator) for heads in (4, 2, 2))
    plain, blocks = (attend(q, k, v, seen, 0.3) for seen in (dense(segments, 0), make_block_mask(segments, 0)))
    assert torch.allclose(plain, blocks, atol=1e-5)


@pytest.mark.parametrize("is_compiled", [False, pytest.param(True, marks=needs_compiler)])
def test_a_fusible_cross_entropy_has_torchs_loss_and_gradient(is_compiled: bool) -> None:
    run = compiled_cross_entropy() if is_compiled else fusible_cross_entropy
    generator = torch.Generator().manual_seed(0)
    for count in (40, 7):
        logits = 4 * torch.randn(count, 101, generator=generator)
        targets = torch.randint(0, 101, (count,), generator=generator)
        targets[0] = logits[0].argmax()
        weights = torch.rand(count, generator=generator)
        leaf = logits.clone().requires_grad_()
        expected = torch.nn.functional.cross_entropy(leaf, targets, reduction="none")
        (expected * weights).sum().backward()
        untouched = logits.clone()
        losses, are_right = run(untouched, targets, weights, False)
        assert (untouched == logits).all()
        assert torch.allclose(losses, expected, atol=1e-5)
        assert (are_right == (logits.argmax(1) == targets)).all()
        run(logits, targets, weights, True)
        assert torch.allclose(logits, leaf.grad, atol=1e-6)

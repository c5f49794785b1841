"""What training computes in C++: attention, cross-entropy and sums, in each library that runs here, beside torch's own."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.model import attention as attending
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.native import attention, build, cross_entropy, library, symmetric

BUILT = [name for name in library.runnable_variants() if build.library_file(name).exists()]


@pytest.fixture(params=BUILT or [None])
def built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    if request.param is None:
        pytest.skip("the C++ was not built here: no compiler, or not for this processor")
    found = ctypes.CDLL(str(build.library_file(request.param)))
    for module in (attention, cross_entropy, symmetric):
        monkeypatch.setattr(module, "library", lambda: found)
    return found


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


ERROR = {torch.bfloat16: 0.006, torch.float32: 2e-6}
"""Of a norm; bfloat16 rounds inputs, weights and results to 2^-9 of themselves."""


@pytest.fixture(params=ERROR)
def dtype(request: pytest.FixtureRequest, built: ctypes.CDLL) -> torch.dtype:
    """Of attention, where this library has it."""
    if not attention.has_attention(request.param):
        pytest.skip("this library has no products of bfloat16")
    found: torch.dtype = request.param
    return found


def heads(rows: int, length: int, num: int, kv: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, values and the gradient of what comes out."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, length, count, width, generator=generator).to(dtype) for count in (num, kv, kv, num)]


def beginnings(rows: int, length: int, documents: int) -> Tensor:
    """Rows of documents of any length."""
    generator = torch.Generator().manual_seed(documents)
    first = torch.zeros(rows, length, dtype=torch.int32)
    for row in first:
        for cut in torch.randint(0, length, (documents - 1,), generator=generator).sort().values.tolist():
            row[cut:] = cut
    return first


def exact(q: Tensor, k: Tensor, v: Tensor, first: Tensor, grad: Tensor, scale: float) -> list[Tensor]:
    """The output and the three gradients in float64."""
    leaves = [x.double().requires_grad_() for x in (q, k, v)]
    wide = [x.transpose(1, 2) for x in leaves]
    wide[1:] = [x.repeat_interleave(q.shape[2] // k.shape[2], dim=1) for x in wide[1:]]
    places = torch.arange(q.shape[1])
    seen = (places[None, None] <= places[None, :, None]) & (places[None, None] >= first[:, :, None])
    scores = (wide[0] @ wide[1].transpose(2, 3) * scale).masked_fill(~seen[:, None], -math.inf)
    out = (scores.softmax(-1) @ wide[2]).transpose(1, 2)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.double())]


def ours(q: Tensor, k: Tensor, v: Tensor, first: Tensor, grad: Tensor, scale: float) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attention.attention(*leaves, first, scale)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


@pytest.mark.parametrize(
    ("shape", "documents"),
    [
        ((2, 256, 4, 2, 64), 1),
        ((2, 100, 4, 2, 64), 3),  # no whole blocks
        ((1, 33, 3, 1, 24), 1),  # a width of no whole tiles
        ((2, 300, 4, 4, 128), 5),
        ((1, 64, 2, 1, 40), 64),
        ((1, 31, 2, 2, 16), 2),
        ((1, 700, 2, 1, 32), 9),
    ],
)
def test_attention_and_its_gradients_are_those_of_float64(
    dtype: torch.dtype, shape: tuple[int, int, int, int, int], documents: int
) -> None:
    q, k, v, grad = heads(*shape, dtype)
    first = beginnings(shape[0], shape[1], documents)
    given = (q, k, v, first, grad, 0.3)
    for found, right in zip(ours(*given), exact(*given), strict=True):
        assert found.dtype == dtype
        assert (found.double() - right).norm() <= ERROR[dtype] * right.norm()


def test_a_single_position_attends_to_itself(dtype: torch.dtype) -> None:
    q, k, v, grad = heads(2, 1, 2, 2, 16, dtype)
    out, grad_q, grad_k, grad_v = ours(q, k, v, torch.zeros(2, 1, dtype=torch.int32), grad, 1.0)
    # in float32 its weight is 1 but for the last digit, which bfloat16 rounds away
    error = 2e-6 if dtype == torch.float32 else 0.0
    for found, right in ((out, v), (grad_v, grad), (grad_q, torch.zeros_like(q)), (grad_k, torch.zeros_like(k))):
        torch.testing.assert_close(found, right, rtol=0.0, atol=error)


def test_large_scores_do_not_overflow(dtype: torch.dtype) -> None:
    q, k, v, grad = heads(1, 64, 2, 1, 32, dtype)
    given = (q * 30, k * 30, v, beginnings(1, 64, 1), grad, 1.0)
    found, right = ours(*given), exact(*given)
    assert all(each.isfinite().all() for each in found)
    # where one weight is nearly all, gradients of scores are differences of what was rounded; these two are none
    for index in (0, 3):
        assert (found[index].double() - right[index]).norm() <= ERROR[dtype] * right[index].norm()


def test_what_another_document_holds_changes_no_bit(dtype: torch.dtype) -> None:
    q, k, v, grad = heads(1, 96, 2, 1, 32, dtype)
    first = torch.zeros(1, 96, dtype=torch.int32)
    first[:, 41:] = 41
    before = ours(q, k, v, first, grad, 0.2)
    others = [x.clone() for x in (q, k, v, grad)]
    for x in others:
        x[:, :41] = 7.0
    after = ours(*others[:3], first, others[3], 0.2)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[:, 41:], b[:, 41:])
        assert not torch.equal(a[:, :41], b[:, :41])


def test_threads_change_no_bit(dtype: torch.dtype) -> None:
    q, k, v, grad = heads(3, 80, 6, 3, 32, dtype)
    given = (q, k, v, beginnings(3, 80, 4), grad, 0.2)
    before = ours(*given)
    with threads(3):
        after = ours(*given)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_torch_finds_the_operation_well_made(dtype: torch.dtype) -> None:
    q, k, v, _ = heads(1, 40, 2, 1, 16, dtype)
    given = (q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), beginnings(1, 40, 2), 0.2)
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(torch.ops.jielong.attention.default, given, test_utils=tests)


CONFIG = ModelConfig(
    vocab_size=64,
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=24,
    sliding_window=7,
    sliding_layers=(1,),
)


@pytest.mark.parametrize("segments", [None, [[1] * 20 + [2] * 25 + [0] * 5, [3] * 50]])
def test_a_model_computes_the_same_with_and_without(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, segments: list[list[int]] | None
) -> None:
    model = fresh_language_model(CONFIG, 0)
    model.model.compute_dtype = dtype
    ids = torch.randint(0, 64, (2, 50), generator=torch.Generator().manual_seed(0))
    segment_ids = None if segments is None else torch.tensor(segments, dtype=torch.int32)

    def results() -> list[Tensor]:
        model.zero_grad()
        hidden = model(ids, segments=segment_ids)
        hidden.square().sum().backward()
        of = dict(model.named_parameters())
        return [hidden.detach(), *(of[name].grad.clone() for name in of if "proj" in name)]

    seen = model.model.layer_inputs(torch.arange(50).expand(2, 50), segment_ids)
    assert all(first is not None and first.shape == (2, 50) for _, first in seen)
    native = results()
    monkeypatch.setattr(attending, "has_attention", lambda _: False)
    seen = model.model.layer_inputs(torch.arange(50).expand(2, 50), segment_ids)
    assert all(mask is not None and mask.shape == (2, 50, 50) for _, mask in seen)
    for found, plain in zip(native, results(), strict=True):
        assert (found - plain).norm() <= 0.02 * plain.norm()


def test_segments_in_several_pieces_get_a_mask(dtype: torch.dtype) -> None:
    model = fresh_language_model(CONFIG, 0)
    model.model.compute_dtype = dtype
    segments = torch.tensor([[1, 2, 1, 2]])
    mask = model.model.layer_inputs(torch.arange(4).expand(1, 4), segments)[0][1]
    assert mask is not None
    assert mask.tolist() == [[[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "words"), [(40, 512), (3, 37), (1, 5)])
def test_cross_entropy_and_its_gradient_are_torchs(
    built: ctypes.CDLL, dtype: torch.dtype, rows: int, words: int
) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = (4 * torch.randn(rows, words, generator=generator)).to(dtype)
    targets = torch.randint(0, words, (rows,), generator=generator)
    targets[0] = logits[0].argmax()
    weights = torch.rand(rows, generator=generator)
    leaf = logits.double().requires_grad_()
    right = F.cross_entropy(leaf, targets, reduction="none")
    (right * weights).sum().backward()
    untouched = logits.clone()
    found = cross_entropy.cross_entropy_(untouched, targets, weights, has_gradient=False)
    assert found is not None
    assert torch.equal(untouched, logits)
    again = cross_entropy.cross_entropy_(logits, targets, weights, has_gradient=True)
    assert again is not None
    assert torch.equal(found[0], again[0])
    assert torch.allclose(found[0].double(), right.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(found[1], leaf.detach().argmax(-1) == targets)
    assert leaf.grad is not None
    assert torch.allclose(logits.double(), leaf.grad, rtol=1e-5 if dtype == torch.float32 else 2**-8, atol=1e-7)


def test_cross_entropy_of_nan_is_nan(built: ctypes.CDLL) -> None:
    logits = torch.zeros(2, 40)
    logits[1, 3] = math.nan
    found = cross_entropy.cross_entropy_(logits, torch.tensor([0, 0]), torch.ones(2), has_gradient=True)
    assert found is not None
    assert found[0][0] == pytest.approx(math.log(40))
    assert found[0][1].isnan()
    assert logits[1].isnan().any()


@pytest.mark.parametrize("shape", [(3, 7), (64, 16)])
def test_bfloat16_is_added_to_float32(built: ctypes.CDLL, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    total, part = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator).bfloat16()
    right = total + part
    cross_entropy.add_(total, part)
    assert torch.equal(total, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (96, 64), (160, 224), (40, 64), (64, 40)])
def test_symmetric_products_are_those_of_float64(
    built: ctypes.CDLL, dtype: torch.dtype, rows: int, columns: int
) -> None:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, columns, generator=generator).to(dtype)
    wide = x.double()
    gram = (wide @ wide.T).to(dtype)
    cases = [
        (symmetric.symmetric(x, x), wide @ wide.T),
        # columns apart from each other in memory
        (symmetric.symmetric(x.T.contiguous().T, x, alpha=0.5), 0.5 * wide @ wide.T),
        (symmetric.symmetric(x, x, gram, alpha=2.0, beta=-3.0), 2.0 * wide @ wide.T - 3.0 * gram.double()),
        (symmetric.symmetric(x, 3 * x), wide @ (3 * x).double().T),
    ]
    for found, right in cases:
        assert found.dtype == dtype
        assert (found.double() - right).norm() <= ERROR[dtype] * right.norm()
    if rows % symmetric.BLOCK == columns % symmetric.BLOCK == 0 and dtype == torch.float32:
        assert all(torch.equal(found, found.T) for found, _ in cases[:2])


def test_of_a_symmetric_product_half_is_computed(built: ctypes.CDLL) -> None:
    a, b = torch.randn(64, 32), torch.randn(64, 32)
    found, right = symmetric.symmetric(a, b), a @ b.T
    below = torch.ones(64, 64, dtype=torch.bool).tril()
    below[:32, :32] = below[32:, 32:] = True
    assert torch.allclose(found[below], right[below], atol=1e-5)
    assert torch.equal(found[:32, 32:], found[32:, :32].T)


def test_threads_change_no_bit_of_a_symmetric_product(built: ctypes.CDLL) -> None:
    x = torch.randn(160, 96, generator=torch.Generator().manual_seed(0))
    before = symmetric.symmetric(x, x)
    with threads(3):
        after = symmetric.symmetric(x, x)
    assert torch.equal(before, after)

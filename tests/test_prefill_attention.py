"""Attention of prompts in blocks against the plain formula, and the memory that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from jielong.generate import prefill_attention
from jielong.generate.packed import PackedModel
from jielong.generate.prefill_attention import PrefillAttention, group_alike
from jielong.model.cache import Cache
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.native.attention import has_attention

CONFIG = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=40000,
    sliding_window=9,
    sliding_layers=(1,),
)


class Sizes(TorchDispatchMode):
    """Notes the numbers of the largest tensor that any operation makes, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor) and not a.is_mkldnn}
        if isinstance(out, Tensor) and out.untyped_storage().data_ptr() not in inputs:
            self.largest = max(self.largest, out.numel())
        return out


def filled_cache(slots: int, length: int) -> Cache:
    cache = Cache(CONFIG, slots, length, torch.float32)
    for layer in cache.layers:
        layer.normal_(generator=torch.Generator().manual_seed(1))
    return cache


def plain(cache: Cache, layer: int, q_NHD: Tensor, slots: list[int], positions: Tensor, window: int) -> Tensor:
    """One query at a time, by the formula."""
    rows = []
    for q_HD, slot, position in zip(q_NHD, slots, positions.tolist(), strict=True):
        begin = max(0, position - window + 1) if window else 0
        keys, values = (kv[slot, :, begin : position + 1].repeat_interleave(2, 0) for kv in cache.layers[layer])
        rows.append((torch.softmax(keys @ q_HD[..., None], 1) * values).sum(1).flatten())
    return torch.stack(rows)


@contextmanager
def small_blocks(queries: int, keys: int) -> Iterator[None]:
    before = prefill_attention.QUERIES, prefill_attention.KEYS
    prefill_attention.QUERIES, prefill_attention.KEYS = queries, keys
    try:
        yield
    finally:
        prefill_attention.QUERIES, prefill_attention.KEYS = before


@pytest.mark.parametrize(("queries", "keys"), [(128, 1024), (5, 7), (1, 3), (4, 64), (64, 4)])
def test_blocks_equal_the_plain_formula_with_and_without_a_window(queries: int, keys: int) -> None:
    slots, starts, counts = [3, 0, 4, 2, 5], [0, 31, 7, 50, 12], [20, 3, 1, 24, 13]
    cache = filled_cache(6, 80)
    generator = torch.Generator().manual_seed(2)
    q = torch.randn(sum(counts), 4, 8, generator=generator)
    kv = torch.randn(sum(counts), 2, 2, 8, generator=generator)
    with small_blocks(queries, keys):
        attend = PrefillAttention(cache, slots, starts, counts, CONFIG, torch.float32)
        for layer, window in ((0, 0), (1, 9)):
            out = attend(layer, q, kv)
            expected = plain(cache, layer, q, attend.slot_of_token.tolist(), attend.positions, window)
            torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("has_library", [True, False])
def test_beginnings_of_prompts_equal_the_plain_formula(has_library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_library:
        monkeypatch.setattr(prefill_attention, "has_attention", lambda _: False)
    slots, counts = [3, 0, 4], [70, 61, 64]
    cache = filled_cache(6, 80)
    generator = torch.Generator().manual_seed(2)
    q = torch.randn(sum(counts), 4, 8, generator=generator)
    kv = torch.randn(sum(counts), 2, 2, 8, generator=generator)
    attend = PrefillAttention(cache, slots, [0, 0, 0], counts, CONFIG, torch.float32)
    assert all(group.is_native == (has_library and has_attention(torch.float32)) for group in attend.groups)
    for layer, window in ((0, 0), (1, 9)):
        out = attend(layer, q, kv)
        expected = plain(cache, layer, q, attend.slot_of_token.tolist(), attend.positions, window)
        torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)


def test_rows_of_like_shape_go_together_and_a_long_one_goes_alone() -> None:
    assert group_alike([0] * 8, [30] * 8) == [list(range(8))]
    starts, counts = [0, 90000, 0, 0], [40, 300, 33, 37]
    groups = group_alike(starts, counts)
    assert groups[0] == [1] and sorted(groups[1]) == [0, 2, 3]
    many = group_alike([i * 37 % 5000 for i in range(64)], [1 + i * 11 % 90 for i in range(64)])
    assert sorted(row for group in many for row in group) == list(range(64))


def test_reading_a_long_prompt_makes_no_tensor_beyond_the_stated_bound() -> None:
    model = PackedModel(CONFIG, torch.float32, torch.device("cpu"), CONFIG.max_position_embeddings)
    model.load(fresh_language_model(CONFIG, 0).state_dict())
    largest = {}
    for length in (8000, 32000):
        cache = model.new_cache(1, length)
        with Sizes() as sizes, torch.inference_mode():
            model.prefill(cache, torch.zeros(1024, dtype=torch.long), [0], [length - 1024], [1024])
        largest[length] = sizes.largest
    # a chunk's scores all at once would be 4 heads * 1024 * 32000 = 131 million
    assert largest[8000] == largest[32000] <= prefill_attention.SCORES
    assert math.prod((4, 1024, 32000)) > 30 * prefill_attention.SCORES


def test_many_rows_far_in_their_slots_stay_within_the_bound() -> None:
    cache = filled_cache(40, 3000)
    starts, counts = [2900 - i for i in range(40)], [16 + i % 9 for i in range(40)]
    attend = PrefillAttention(cache, list(range(40)), starts, counts, CONFIG, torch.float32)
    generator = torch.Generator().manual_seed(3)
    q = 0.3 * torch.randn(sum(counts), 4, 8, generator=generator)
    kv = torch.randn(sum(counts), 2, 2, 8, generator=generator)
    with Sizes() as sizes:
        out = attend(0, q, kv)
    assert sizes.largest <= prefill_attention.SCORES
    expected = plain(cache, 0, q, attend.slot_of_token.tolist(), attend.positions, 0)
    torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)

"""Keys and values land where they belong; that reading with them changes nothing is `test_engine`'s matter."""

from __future__ import annotations

import torch

from jielong.model.cache import Cache
from jielong.model.transformer import ModelConfig

CONFIG = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=32,
)


def test_write_puts_each_token_at_its_slot_and_position() -> None:
    cache = Cache(CONFIG, slots=3, length=4, dtype=torch.float32)
    kv = torch.arange(2 * 2 * 2 * 4.0).view(2, 2, 2, 4) + 1
    cache.write(1, torch.tensor([2, 0]), torch.tensor([3, 1]), kv)
    torch.testing.assert_close(cache.keys[1][2, :, 3], kv[0, 0])
    torch.testing.assert_close(cache.values[1][0, :, 1], kv[1, 1])
    assert int((cache.layers[1] != 0).sum()) == kv.numel() and not cache.layers[0].any()


def test_swap_exchanges_the_first_positions_of_slots() -> None:
    cache = Cache(CONFIG, slots=4, length=6, dtype=torch.float32)
    for layer in cache.layers:
        layer.normal_(generator=torch.Generator().manual_seed(0))
    before = [layer.clone() for layer in cache.layers]
    cache.swap(torch.tensor([0, 3]), torch.tensor([2, 1]), 4)
    for layer, old in zip(cache.layers, before, strict=True):
        assert torch.equal(layer[:, [0, 3, 2, 1], :, :4], old[:, [2, 1, 0, 3], :, :4])
        assert torch.equal(layer[..., 4:, :], old[..., 4:, :])


def test_copy_takes_the_first_positions_of_a_slot_to_another() -> None:
    cache = Cache(CONFIG, slots=4, length=6, dtype=torch.float32)
    for layer in cache.layers:
        layer.normal_(generator=torch.Generator().manual_seed(0))
    before = [layer.clone() for layer in cache.layers]
    cache.copy(torch.tensor([0, 3]), torch.tensor([1, 2]), 4)
    for layer, old in zip(cache.layers, before, strict=True):
        assert torch.equal(layer[:, [1, 2], :, :4], old[:, [0, 3], :, :4])
        assert torch.equal(layer[:, [1, 2], :, 4:], old[:, [1, 2], :, 4:])
        assert torch.equal(layer[:, [0, 3]], old[:, [0, 3]])


def test_a_cache_has_the_numbers_and_the_room_that_it_was_asked_for() -> None:
    cache = Cache(CONFIG, 3, 7, torch.bfloat16)
    assert (cache.slots, cache.length, len(cache.layers)) == (3, 7, CONFIG.num_hidden_layers)
    assert all(layer.dtype == torch.bfloat16 and not layer.any() for layer in cache.layers)
    size = (3, CONFIG.num_key_value_heads, 7, CONFIG.head_dim)
    assert {t.shape for t in (*cache.keys, *cache.values)} == {torch.Size(size)}
    cache.layers[1][1, 2] = 1.0
    assert not cache.keys[1].any() and cache.values[1][2].all() and not cache.values[0].any()

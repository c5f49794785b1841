"""Reading with a cache is reading without one."""

from __future__ import annotations

import torch

from jielong.model.cache import Cache, CacheView
from jielong.model.transformer import ModelConfig, fresh_language_model

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


def test_cache_equals_no_cache_in_pieces_of_any_size() -> None:
    model = fresh_language_model(CONFIG, 0)
    ids = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    cache = Cache(CONFIG, slots=5, length=20, dtype=torch.float32)
    for layer in cache.layers:
        layer.uniform_(-100, 100)  # what a slot held before does not matter
    with torch.no_grad():
        whole = model(ids)
        view = CacheView(cache, 1, 3, 16)
        pieces = [
            model(ids[:, a:b], torch.arange(a, b).expand(2, -1), cache=view) for a, b in ((0, 5), (5, 6), (6, 12))
        ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_write_puts_each_token_at_its_slot_and_position() -> None:
    cache = Cache(CONFIG, slots=3, length=4, dtype=torch.float32)
    kv = torch.arange(2 * 2 * 2 * 4.0).view(2, 2, 2, 4) + 1
    cache.write(1, torch.tensor([2, 0]), torch.tensor([3, 1]), kv)
    torch.testing.assert_close(cache.keys[1][2, :, 3], kv[0, 0])
    torch.testing.assert_close(cache.values[1][0, :, 1], kv[1, 1])
    assert int((cache.layers[1] != 0).sum()) == kv.numel() and not cache.layers[0].any()


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

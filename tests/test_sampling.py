"""The draw of many rows against a plain draw of one, and the dice against their published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jielong.generate.sampling import Rules, draw, invert, philox, uniforms


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # the known answers that Random123 publishes for philox4x32-10: all zeros, all ones, digits of pi
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_known_answers(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple) -> None:
    words = philox(np.array(key, np.uint64)[:, None], np.array(counter, np.uint64)[:, None])
    assert tuple(int(word[0]) for word in words) == expected


def test_uniforms_depend_on_seed_and_index_alone_and_fill_the_interval() -> None:
    seeds = np.array([0, 1, 2**40, 2**64 - 1], np.uint64)
    table = uniforms(np.repeat(seeds[:, None], 5000, 1), np.broadcast_to(np.arange(5000), (4, 5000)))
    assert table[2, 7] == uniforms(seeds[2:3], np.array([7]))[0]
    assert len(np.unique(table)) == table.size
    assert table.min() >= 0 and table.max() < 1
    # the mean of 5000 uniforms has standard error 0.2887 / sqrt(5000) = 0.0041
    assert np.abs(table.mean(1) - 0.5).max() < 5 * 0.0041
    # the first words for seed 0 and counter 0 are 0x6627E8D5, 0xE169C58D
    assert table[0, 0] == ((0x6627E8D5 << 20) | (0xE169C58D >> 12)) / 2**52


def plain_draw(
    logits: NDArray[np.float64],
    u: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    history: list[int],
    mask: NDArray[np.bool_] | None,
) -> int:
    """One row, by the book, in float64."""
    z = logits.copy()
    for i in set(history):
        z[i] = z[i] / penalty if z[i] > 0 else z[i] * penalty
    if mask is not None:
        z[~mask] = -np.inf
    if temperature == 0:
        return int(z.argmax())
    p = np.exp((z - z.max()) / temperature)
    order = np.argsort(-p)
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    kept, mass = [], 0.0
    for i in order:
        kept.append(i)
        mass += p[i]
        if mass >= top_p:
            break
    if top_p < 1:
        p[np.setdiff1d(np.arange(len(p)), kept)] = 0
    p[p < min_p * p.max()] = 0
    return int(np.searchsorted(np.cumsum(p) / p.sum(), u, side="right"))


@pytest.mark.parametrize("vocab_size", [700, 64, 130])
def test_draw_equals_a_plain_draw_of_each_row(vocab_size: int) -> None:
    rng = np.random.default_rng(vocab_size)
    B = 300
    logits = rng.normal(0, 2, (B, vocab_size)).astype(np.float32)
    logits[::3] *= 0.05  # nearly flat: the nucleus holds most of the vocabulary
    temperature = rng.choice([0, 0.5, 1, 1.7], B).astype(np.float32)
    top_k = rng.choice([0, 0, 1, 5, 50, 600, 5000], B)
    top_p = rng.choice([1, 1, 0.1, 0.6, 0.95, 0.999], B)
    min_p = rng.choice([0, 0, 0.02, 0.3], B).astype(np.float32)
    penalty = rng.choice([1, 1, 1.4, 0.8], B).astype(np.float32)
    histories = rng.integers(0, vocab_size, (B, 9))
    is_masked = rng.random(B) < 0.3
    masks = rng.random((B, vocab_size)) < 0.2
    masks[:, 3] = True
    masks[~is_masked] = True
    u = rng.random(B)
    rules = Rules.of(temperature, top_k, top_p, min_p, penalty, is_masked)
    assert rules.special is not None
    special = rules.special.numpy()
    ids, logprobs, _ = draw(
        torch.from_numpy(logits),
        rules,
        torch.from_numpy(u),
        torch.from_numpy(histories[special]),
        torch.from_numpy(masks[special]),
    )
    options = (temperature, top_k, top_p, min_p, penalty)
    expected = [
        plain_draw(logits[i].astype(float), u[i], *(o[i].item() for o in options), histories[i].tolist(), masks[i])
        for i in range(B)
    ]
    # a number within float32 rounding of a border may fall on either side of it
    assert (ids.numpy() != np.array(expected)).sum() <= 1
    for i in range(B):
        t = temperature[i] or 1.0
        own = torch.from_numpy(logits[i] / t).double().log_softmax(-1)
        assert logprobs[i].item() == pytest.approx(own[ids[i]].item(), abs=1e-4)


def test_rows_without_special_rules_are_drawn_alike_beside_special_ones() -> None:
    rng = np.random.default_rng(0)
    logits, u = torch.from_numpy(rng.normal(0, 3, (40, 500)).astype(np.float32)), torch.from_numpy(rng.random(40))
    one, zero, off = np.ones(40, np.float32), np.zeros(40, np.int64), np.zeros(40, bool)
    top_k = np.where(np.arange(40) % 2, 3, 0)
    plain = Rules.of(one, zero, one.astype(float), one * 0, one, off)
    mixed = Rules.of(one, top_k, one.astype(float), one * 0, one, off)
    assert plain.special is None and plain.greedy is None and plain.temperature is None
    (ids, logprobs, _), (mixed_ids, mixed_logprobs, _) = draw(logits, plain, u), draw(logits, mixed, u)
    assert torch.equal(ids[::2], mixed_ids[::2]) and torch.equal(logprobs[::2], mixed_logprobs[::2])
    assert not torch.equal(ids[1::2], mixed_ids[1::2])


def test_all_greedy_rows_take_the_likeliest_and_its_logprob() -> None:
    # softmax of (ln 1, ln 2, ln 5) is (1/8, 2/8, 5/8)
    logits = torch.tensor([[0.0, math.log(2), math.log(5)], [math.log(5), 0.0, math.log(2)]])
    zero = np.zeros(2, np.float32)
    rules = Rules.of(zero, np.zeros(2, np.int64), np.ones(2), zero, zero + 1, np.zeros(2, bool))
    assert rules.is_all_greedy
    ids, logprobs, _ = draw(logits, rules, torch.full((2,), 0.99, dtype=torch.float64))
    assert ids.tolist() == [2, 0]
    assert logprobs.tolist() == pytest.approx([math.log(5 / 8)] * 2)


@pytest.mark.parametrize(
    ("logits", "penalty", "seen", "best"),
    [
        ([-1.0, -1.5, -4.0], 2.0, [0], 1),  # -1 becomes -2, not -0.5
        ([3.0, 2.0, -4.0], 2.0, [0], 1),  # 3 becomes 1.5, not 6
        ([0.5, 0.4, -4.0], 2.0, [0], 1),  # 0.5 becomes 0.25, not 1
        ([-1.5, -1.0, -4.0], 0.5, [0], 0),  # below 1 what was seen is preferred: -1.5 becomes -0.75
        ([-1.0, -1.5, -4.0], 2.0, [0, 1], 0),  # -2 and -3
        ([-1.0, -1.5, -4.0], 2.0, [0, 0], 1),  # seen twice is penalised once
        ([-1.0, -1.5, -4.0], 1.0, [0], 0),
    ],
)
def test_the_repetition_penalty_by_hand(logits: list[float], penalty: float, seen: list[int], best: int) -> None:
    """Beside a row that has none, and a log-probability that does not know of it."""
    zero = np.zeros(2, np.float32)
    penalties, top_k = np.array([1, penalty], np.float32), np.array([0, 3])
    rules = Rules.of(zero, top_k, np.ones(2), zero, penalties, np.zeros(2, bool))
    both = torch.tensor([[0.0, 1.0, 2.0], logits])
    ids, logprobs, _ = draw(both, rules, torch.zeros(2, dtype=torch.float64), torch.tensor([seen]))
    assert ids.tolist() == [2, best]
    assert logprobs[1].item() == pytest.approx(logits[best] - math.log(sum(map(math.exp, logits))), abs=1e-6)


def test_invert_finds_the_borders_and_never_an_impossible_id() -> None:
    # cumulative sums 0, .25, .25, .75, 1 at ids 0 to 4 (of 200, the rest impossible)
    p = torch.zeros(200)
    p[1], p[3], p[190] = 0.25, 0.5, 0.25
    u = torch.tensor([0.0, 0.2499, 0.25, 0.5, 0.7499, 0.75, 1 - 2.0**-52], dtype=torch.float64)
    assert invert(p.expand(7, -1), u).tolist() == [1, 1, 3, 3, 3, 190, 190]
    rng = np.random.default_rng(0)
    sparse = torch.from_numpy((rng.random((500, 300)) * (rng.random((500, 300)) < 0.02) + 0.0).astype(np.float32))
    sparse[:, 150] += 1e-8
    edges = torch.from_numpy(rng.choice([0.0, 2.0**-52, 0.5, 1 - 2.0**-52], 500))
    chosen = invert(sparse, edges)
    assert (sparse.gather(1, chosen[:, None]) > 0).all()

"""Batches: every target is counted once, and steps do not depend on how they are cut, shared or interrupted."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.ahead import ReadAhead, Together
from jielong.data.batches import Batch, pack_chats, pack_documents, pad_rows
from jielong.data.shards import TokenArray
from jielong.data.steps import (
    PackedChats,
    PackedPairs,
    PackedTokens,
    PaddedPairs,
    held_out,
    micro_batches,
)
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.tokens import Rendered, RenderedPair

PAD = 1


def rendered(ids: Sequence[int], num_untrained: int = 1) -> Rendered:
    return Rendered(tuple(ids), tuple(i >= num_untrained for i in range(len(ids))))


def chats(num: int, seed: int = 0, longest: int = 12) -> list[Rendered]:
    """Sequences in which every token has its own number, so that each can be found again."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, longest + 1, num)
    starts = 100 + np.cumsum(sizes) - sizes
    return [rendered(range(s, s + n), int(generator.integers(0, n))) for s, n in zip(starts, sizes, strict=True)]


def documents(num: int, seed: int = 0) -> TokenArray:
    return TokenArray.of([c.ids for c in chats(num, seed)])


def pairs(num: int) -> list[RenderedPair]:
    sides = chats(2 * num)
    return [RenderedPair(sides[2 * i], sides[2 * i + 1], label=i / num, margin=float(i)) for i in range(num)]


def make_tokens(**how: Any) -> PackedTokens:
    return PackedTokens(documents(40), **{"length": 8, "rows_per_step": 7, "micro_rows": 3, "seed": 5, **how})


def make_chats(**how: Any) -> PackedChats:
    return PackedChats(chats(40), **{"length": 16, "rows_per_step": 7, "micro_rows": 3, "seed": 5, **how})


def make_pairs(**how: Any) -> PaddedPairs:
    how = {"rows_per_step": 7, "micro_rows": 3, "seed": 5, **how}
    per_step, micro = how.pop("rows_per_step"), how.pop("micro_rows")
    return PaddedPairs(pairs(20), length=32, pairs_per_step=per_step, micro_pairs=micro, **how)


MAKERS = [make_tokens, make_chats, make_pairs]


def rows_of(batches: Sequence[Batch]) -> list[tuple[Any, ...]]:
    """The rows that hold a token, without their padding: what a step trains on, whatever its shape."""
    rows = []
    for batch in batches:
        for b in range(batch.num_rows):
            real = int((batch.segments[b] != 0).sum())
            if real:
                tensors = (batch.inputs, batch.weights, batch.positions, batch.segments)
                rows.append(tuple(tuple(t[b, :real].tolist()) for t in tensors))
    return rows


def targets_of(batches: Sequence[Batch]) -> Counter[tuple[int, int]]:
    """(token, the token it predicts) for all that weighs something."""
    found: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        on = batch.weights > 0
        found.update(zip(batch.inputs[on].tolist(), batch.targets[on].tolist(), strict=True))
    return found


def check_laws(batch: Batch) -> None:
    assert [t.dtype for t in (batch.inputs, batch.targets, batch.positions)] == [torch.int64] * 3
    assert (batch.weights.dtype, batch.segments.dtype) == (torch.float32, torch.int32)
    assert torch.equal(batch.targets[:, :-1], batch.inputs[:, 1:])
    assert not batch.weights[:, -1].any()
    is_padding = batch.segments == 0
    assert (batch.inputs[is_padding] == PAD).all()
    assert not batch.weights[is_padding].any()
    assert not batch.positions[is_padding].any()
    same = (batch.segments[:, 1:] == batch.segments[:, :-1]) & ~is_padding[:, 1:]
    assert not batch.weights[:, :-1][~same].any(), "no target lies in another sequence"
    assert (torch.diff(batch.positions)[same] == 1).all()
    assert not batch.positions[:, 1:][~same].any()
    assert not batch.positions[:, 0].any()
    steps = torch.diff(batch.segments)
    assert ((steps == 0) | (steps == 1) | is_padding[:, 1:]).all(), "segments count up by one, then padding"
    assert (batch.segments[:, 0] <= 1).all()
    assert torch.equal(batch.last, ((~is_padding).sum(1) - 1).clamp(min=0))


def test_documents_by_hand() -> None:
    batch = pack_documents(TokenArray.of([[5, 6, 0], [7, 8, 9, 0]]), length=4)
    assert batch.inputs.tolist() == [[5, 6, 0, 7], [7, 8, 9, 0]]
    assert batch.targets.tolist() == [[6, 0, 7, PAD], [8, 9, 0, PAD]]
    # end-of-text is a target; the first token of the second document is not one of the first
    assert batch.weights.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert batch.segments.tolist() == [[1, 1, 1, 2], [1, 1, 1, 1]]


def test_padded_rows_by_hand() -> None:
    batch = pad_rows([rendered([5, 6, 7], num_untrained=2), rendered([8])], length=4)
    assert batch.inputs.tolist() == [[5, 6, 7, PAD], [8, PAD, PAD, PAD]]
    assert batch.weights.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert batch.last.tolist() == [2, 0]
    assert pad_rows([rendered([5, 6, 7])]).length == 3
    assert pad_rows([rendered([5])]).length == pad_rows([rendered([5, 6])]).length == 2
    with pytest.raises(DataError, match="3 tokens; expected at most 2"):
        pad_rows([rendered([5, 6, 7])], length=2)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(2, 7))
def test_every_token_with_a_predecessor_in_its_document_is_a_target_once(sizes: list[int], length: int) -> None:
    ends = np.cumsum(sizes)
    if ends[-1] < 2:
        return
    tokens = TokenArray.of([list(range(100 + e - n, 100 + e)) for e, n in zip(ends, sizes, strict=True)])
    batch = pack_documents(tokens, length)
    check_laws(batch)
    expected = Counter((t, t + 1) for e, n in zip(ends, sizes, strict=True) for t in range(100 + e - n, 99 + e))
    assert targets_of([batch]) == expected
    assert batch.weights.sum() == ends[-1] - len(sizes)


@given(st.integers(1, 30), st.integers(0, 5), st.integers(4, 20))
def test_packed_chats_keep_every_trained_token_and_cut_only_the_too_long(num: int, seed: int, length: int) -> None:
    sequences = chats(num, seed)
    kept = [Rendered(c.ids[:length], c.trained[:length]) for c in sequences if any(c.trained[1:length])]
    if not kept:
        with pytest.raises(DataError, match="none of"):
            pack_chats(sequences, length)
        return
    batch, fit = pack_chats(sequences, length)
    check_laws(batch)
    expected = Counter((t - 1, t) for c in kept for t, on in zip(c.ids[1:], c.trained[1:], strict=True) if on)
    assert targets_of([batch]) == expected
    assert batch.weights.sum() == sum(expected.values())
    found = [tuple(row[row_segments == s].tolist()) for row, row_segments in zip(batch.inputs, batch.segments, strict=True)
             for s in range(1, int(row_segments.max()) + 1)]  # fmt: skip
    assert sorted(found) == sorted(c.ids for c in kept), "each lies whole in one row"
    assert (fit.num_sequences, fit.num_rows, fit.num_dropped) == (num, batch.num_rows, num - len(kept))
    assert fit.num_cut == sum(len(c.ids) == length and any(c.ids == s.ids[:length] and len(s.ids) > length
                              for s in sequences) for c in kept)  # fmt: skip


def test_best_fit_leaves_little_padding() -> None:
    generator = np.random.default_rng(0)
    sequences = [rendered([9] * int(n)) for n in generator.integers(20, 100, 2000)]
    batch, _ = pack_chats(sequences, 256)
    assert (batch.segments != 0).float().mean() > 0.98


@pytest.mark.parametrize("make", MAKERS)
def test_steps_do_not_depend_on_the_size_of_micro_batches(make: Callable[..., Any]) -> None:
    sources = [make(micro_rows=n) for n in (1, 3, 7, 20)]
    for _ in range(9):
        steps = [source.next_step() for source in sources]
        assert [len(step) for step in steps] == [7, 3, 1, 1]
        assert len({str(rows_of(step)) for step in steps}) == 1
        for step in steps:
            for batch in step:
                check_laws(batch)


@pytest.mark.parametrize("make", MAKERS)
def test_all_ranks_together_make_the_step_of_one(make: Callable[..., Any]) -> None:
    alone = make()
    for world_size in (2, 3, 8):
        ranks = [make(rank=r, world_size=world_size) for r in range(world_size)]
        alone.load_state_dict({**alone.state_dict(), "step": 0})
        for _ in range(5):
            shares = [rank.next_step() for rank in ranks]
            assert len({len(share) for share in shares}) == 1, "equally many micro-batches"
            assert len({batch.num_rows for share in shares for batch in share}) == 1
            expected = rows_of(alone.next_step())
            if make is make_pairs:
                found = Counter(row for share in shares for row in rows_of(share))
                assert found == Counter(expected)
            else:
                # row j of the step is on rank j % world_size
                found_rows = [rows_of(share) for share in shares]
                assert [found_rows[j % world_size][j // world_size] for j in range(len(expected))] == expected


@pytest.mark.parametrize("make", MAKERS)
def test_resumed_equals_never_stopped(make: Callable[..., Any]) -> None:
    whole, stopped = make(), make()
    for _ in range(4):
        whole.next_step()
        stopped.next_step()
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed = make(micro_rows=2)
    resumed.load_state_dict(state)
    for _ in range(8):
        assert rows_of(resumed.next_step()) == rows_of(whole.next_step())
    for other in (make(seed=6), make(rows_per_step=8)):
        with pytest.raises(CheckpointError, match="of the checkpoint had"):
            other.load_state_dict(state)


@pytest.mark.parametrize("make", MAKERS)
def test_read_ahead_changes_no_step_no_state_and_no_second_attempt(make: Callable[..., Any]) -> None:
    plain, ahead = make(), ReadAhead(make())
    for _ in range(5):
        assert rows_of(ahead.next_step()) == rows_of(plain.next_step())
        assert ahead.state_dict() == plain.state_dict()
    resumed = ReadAhead(make())
    resumed.next_step()
    resumed.load_state_dict(ahead.state_dict())
    for source in (plain, ahead, resumed):
        source.reseed(1)
    expected = [rows_of(plain.next_step()) for _ in range(4)]
    assert [rows_of(ahead.next_step()) for _ in range(4)] == expected
    assert [rows_of(resumed.next_step()) for _ in range(4)] == expected


def test_what_goes_wrong_while_reading_ahead_is_told_when_its_turn_comes() -> None:
    source = make_tokens()
    ahead = ReadAhead(source)
    ahead.next_step()
    ahead._drop()
    source._make = lambda epoch, rows: (_ for _ in ()).throw(DataError("a shard is gone"))
    with pytest.raises(DataError, match="a shard is gone"):
        ahead.next_step()


def test_two_sources_together_keep_each_its_own_order_through_a_kill() -> None:
    documents, talks = MAKERS[0], MAKERS[1]
    whole = Together(documents(), talks())
    steps = [whole.next_step() for _ in range(6)]
    first, second = documents(), talks()
    assert [[rows_of([b]) for b in step] for step in steps] == [
        [rows_of([b]) for b in (*first.next_step(), *second.next_step())] for _ in range(6)
    ]
    stopped = Together(documents(), talks())
    for _ in range(2):
        stopped.next_step()
    resumed = Together(documents(), talks())
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert [rows_of(resumed.next_step()) for _ in range(4)] == [rows_of(step) for step in steps[2:]]
    resumed.reseed(1)
    assert rows_of(resumed.next_step()) != rows_of(whole.next_step())


@pytest.mark.parametrize("make", MAKERS)
def test_seeds_and_epochs_differ_in_order_and_an_epoch_holds_every_row_once(make: Callable[..., Any]) -> None:
    num_rows = make().num_rows
    source = make(rows_per_step=num_rows)
    assert (source.steps(1), source.steps(2.5)) == (1, 3)
    first, second = (source.next_step() for _ in range(2))
    other = make(rows_per_step=num_rows, seed=6).next_step()
    natural = held_out(source)
    assert len({str(rows_of(step)) for step in (first, second, other, natural)}) == 4
    if make is not make_tokens:  # there the documents are shuffled too, and cut elsewhere
        assert Counter(rows_of(first)) == Counter(rows_of(second)) == Counter(rows_of(natural))


def test_an_epoch_of_tokens_trains_on_every_target_but_at_most_one() -> None:
    tokens = documents(40)
    for seed in range(5):
        source = make_tokens(seed=seed, rows_per_step=1, micro_rows=1)
        expected = targets_of([pack_documents(tokens, 8)])
        for _ in range(2):
            found = targets_of([b for _ in range(source.num_rows) for b in source.next_step()])
            # the long row may begin within a document, whose halves are then two sequences
            assert not found - expected
            assert sum((expected - found).values()) <= 1


def test_one_long_document_is_cut_elsewhere_in_each_epoch() -> None:
    tokens = TokenArray.of([list(range(100, 1100))])
    source = PackedTokens(tokens, length=65, rows_per_step=16, micro_rows=16, seed=0)
    assert source.num_rows == 16
    first, second = ({row[0][0] for row in rows_of(source.next_step())} for _ in range(2))
    assert first != second


def test_held_out_rows_come_once_in_natural_order_and_leave_the_source_alone() -> None:
    source = make_tokens()
    source.next_step()
    assert rows_of(held_out(source)) == rows_of([pack_documents(documents(40), 8)])
    assert rows_of(held_out(source, max_rows=4)) == rows_of(held_out(source))[:4]
    assert rows_of(source.next_step()) != rows_of(make_tokens().next_step())
    ranks = [held_out(make_tokens(rank=r, world_size=2)) for r in range(2)]
    assert Counter(rows_of(ranks[0] + ranks[1])) == Counter(rows_of(held_out(source)))
    assert rows_of(held_out(make_chats())) == rows_of([pack_chats(chats(40), 16)[0]])


def test_pairs_lie_in_neighbouring_rows_with_their_label_and_margin() -> None:
    made = pairs(20)
    by_ids = {p.chosen.ids: p for p in made}
    source = make_pairs()
    seen = 0
    for _ in range(3):
        for batch in source.next_step():
            check_laws(batch)
            assert batch.length in (4, 8, 16, 32)
            for i in range(batch.num_rows // 2):
                real = [int((batch.segments[r] != 0).sum()) for r in (2 * i, 2 * i + 1)]
                if batch.extra["weight"][i] == 0:
                    assert real == [0, 0]
                    continue
                seen += 1
                pair = by_ids[tuple(batch.inputs[2 * i, : real[0]].tolist())]
                assert tuple(batch.inputs[2 * i + 1, : real[1]].tolist()) == pair.rejected.ids
                assert batch.extra["label"][i] == torch.tensor(pair.label)
                assert batch.extra["margin"][i] == pair.margin
    assert seen == 3 * 7


@pytest.mark.parametrize("rank", [0, 1])
def test_packed_pairs_are_the_padded_ones_in_fewer_rows(rank: int) -> None:
    how = {"length": 32, "pairs_per_step": 7, "micro_pairs": 3, "seed": 5, "rank": rank, "world_size": 2}
    kinds = [kind(pairs(20), **how) for kind in (PaddedPairs, PackedPairs)]  # type: ignore[arg-type]

    def sides(batch: Batch, count: int) -> list[list[int]]:
        """The tokens of each sequence, read backwards from its end to position 0."""
        ids, positions = batch.inputs.flatten(), batch.positions.flatten()
        return [ids[end - int(positions[end]) : end + 1].tolist() for end in batch.ends[:count].tolist()]

    for _ in range(3):
        padded, packed = (source.next_step() for source in kinds)
        assert len(padded) == len(packed) == 2
        for wide, dense in zip(padded, packed, strict=True):
            check_laws(dense)
            count = len(dense.ends)
            assert count == 2 * int(wide.extra["weight"].sum()) == 2 * int(dense.extra["weight"].sum())
            assert sides(wide, count) == sides(dense, count)
            assert 1 <= dense.num_rows <= max(1, count)
            for name in ("label", "margin"):
                assert torch.equal(wide.extra[name][: count // 2], dense.extra[name])
            assert int((dense.segments > 0).sum()) == int((wide.segments > 0).sum())
            assert dense.weights.sum() == wide.weights.sum()


def test_a_micro_batch_without_pairs_is_a_row_of_padding() -> None:
    how = {"pairs_per_step": 1, "micro_pairs": 1, "seed": 0, "rank": 1, "world_size": 2}
    (batch,) = PackedPairs(pairs(4), length=32, **how).next_step()  # type: ignore[arg-type]
    assert batch.num_rows == 1
    assert not batch.segments.any()
    assert not len(batch.ends)


def test_pairs_that_do_not_fit_are_dropped_whole_and_counted() -> None:
    made = pairs(20)
    fitting = [p for p in made if max(len(p.chosen.ids), len(p.rejected.ids)) <= 9]
    source = PaddedPairs(made, length=9, pairs_per_step=2, micro_pairs=2, seed=0)
    assert 0 < source.num_dropped == len(made) - len(fitting) < len(made)
    assert source.num_rows == len(fitting)
    with pytest.raises(DataError, match=r"none of .* pairs fits into 9"):
        PaddedPairs([p for p in made if p not in fitting], length=9, pairs_per_step=2, micro_pairs=2, seed=0)


def test_a_batch_is_split_with_its_extras_and_filled_with_rows_that_weigh_nothing() -> None:
    batch = pad_rows(chats(6))
    per_token, per_row = torch.rand(6, batch.length), torch.arange(6) + 1
    batch = Batch(
        batch.inputs, batch.targets, batch.weights, batch.positions, batch.segments,
        {"advantages": per_token, "row": per_row, "mean": torch.tensor(3.0)},
    )  # fmt: skip
    parts = micro_batches(batch, 4)
    assert [p.num_rows for p in parts] == [4, 4]
    assert rows_of(parts) == rows_of([batch])
    assert torch.cat([p.extra["row"] for p in parts]).tolist() == [1, 2, 3, 4, 5, 6, 0, 0]
    assert torch.equal(torch.cat([p.extra["advantages"] for p in parts])[:6], per_token)
    assert all(p.extra["mean"] == 3 for p in parts)
    assert sum(p.weights.sum() for p in parts) == batch.weights.sum()
    for part in parts:
        check_laws(part)
    shares = [micro_batches(batch, 4, rank=r, world_size=2) for r in range(2)]
    assert [len(s) for s in shares] == [1, 1]
    assert [s[0].extra["row"].tolist() for s in shares] == [[1, 3, 5, 0], [2, 4, 6, 0]]


def test_groups_of_rows_stay_together_when_split() -> None:
    rows = pad_rows(chats(6))
    batch = Batch(
        rows.inputs, rows.targets, rows.weights, rows.positions, rows.segments,
        {"row": torch.arange(6) + 1, "group": torch.arange(3) + 1},
    )  # fmt: skip
    parts = micro_batches(batch, 4, group=2)
    assert [p.extra["row"].tolist() for p in parts] == [[1, 2, 3, 4], [5, 6, 0, 0]]
    assert [p.extra["group"].tolist() for p in parts] == [[1, 2], [3, 0]]
    with pytest.raises(ConfigError, match="multiples of 2"):
        micro_batches(batch, 3, group=2)


def test_moving_a_batch_moves_every_tensor() -> None:
    batch = make_pairs().next_step()[0].to("meta")
    tensors = [batch.inputs, batch.targets, batch.weights, batch.positions, batch.segments, *batch.extra.values()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert len(tensors) == 8


def test_what_cannot_be_a_source_is_refused() -> None:
    for how, why in (
        ({"length": 1}, "at least 2 tokens"),
        ({"rows_per_step": 0}, "at least 1"),
        ({"micro_rows": 0}, "at least 1"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
    ):
        with pytest.raises(ConfigError, match=why):
            make_tokens(**how)
    with pytest.raises(DataError, match="1 tokens"):
        PackedTokens(TokenArray.of([[5]]), length=8, rows_per_step=1, micro_rows=1, seed=0)
    with pytest.raises(DataError, match="none of 0"):
        PackedChats([], length=8, rows_per_step=1, micro_rows=1, seed=0)


def test_packing_a_million_tokens_takes_no_second() -> None:
    tokens = TokenArray(np.full(1_000_000, 70, np.uint16), np.arange(0, 1_000_001, 200))
    start = time.process_time()
    batch = pack_documents(tokens, 512)
    assert time.process_time() - start < 1
    assert batch.weights.sum() == 1_000_000 - 5_000

"""Token ids to the tensors of a training step, and the only place where targets are shifted.

A row holds whole sequences one after another: documents, conversations, or a single padded one. `segments` numbers the
sequences of a row from 1 on, 0 is padding; `positions` count from 0 in each; column t speaks about predicting
`targets[:, t]`, which is `inputs[:, t + 1]`, so the last column and the last token of every sequence have weight 0.

A source cuts steps from rows. The rows of step s are a function of (seed, s) alone: how many go into a micro-batch, on
how many ranks, and whether training was stopped in between changes nothing. Every rank gets equally many micro-batches of
the same number of rows; what is missing is filled with rows of padding, which weigh nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.data.shards import TokenArray, Tokens
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered, RenderedPair

PAD_ID = 1

# B rows in a batch, T columns, N tokens, R rows of an epoch.


@dataclass(frozen=True)
class Batch:
    """Rows of tokens. `inputs`, `targets`, `positions` (B, T) int64; `segments` (B, T) int32; `weights` (B, T) float32.

    Each tensor in `extra` has B rows, or B / group where rows belong together (pairs), or is one number for the step.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    segments: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return self.inputs.shape[0]

    @property
    def length(self) -> int:
        return self.inputs.shape[1]

    @property
    def last(self) -> Tensor:
        """(B,) int64 column of the last token that is not padding, where a scalar head is read; 0 if there is none."""
        columns = torch.arange(self.length, device=self.segments.device)
        return (columns * (self.segments != 0)).amax(dim=1)

    def to(self, device: torch.device | str) -> Batch:
        return self._each(lambda t: t.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {f.name: change(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "extra"}
        return Batch(**tensors, extra={k: change(v) for k, v in self.extra.items()})


def _batch(
    inputs: NDArray[Any], trained: NDArray[Any], positions: NDArray[Any], segments: NDArray[Any], pad: int
) -> Batch:
    """The shift. All (B, T); `trained` says of each token how much it counts as a target."""
    targets = np.full_like(inputs, pad)
    targets[:, :-1] = inputs[:, 1:]
    weights = np.zeros(inputs.shape, np.float32)
    is_inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != 0)
    weights[:, :-1] = trained[:, 1:] * is_inside
    return Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(targets),
        torch.from_numpy(weights),
        torch.from_numpy(positions),
        torch.from_numpy(segments),
    )


# Documents: one long row of tokens, cut anywhere.


def _num_document_rows(num_tokens: int, length: int) -> int:
    return -(-(num_tokens - 1) // (length - 1))


class _Layout:
    """Documents laid one after the other in `order`, turned so that the long row begins at token `start`."""

    def __init__(self, tokens: Tokens, order: NDArray[np.int64], start: int = 0) -> None:
        self.order = order
        self.start = start
        self.sizes = np.diff(tokens.offsets)[order]
        self.ends = np.cumsum(self.sizes)


def _document_rows(tokens: Tokens, layout: _Layout, rows: NDArray[np.int64], length: int, pad: int) -> Batch:
    """Some rows of the long row.

    Neighbouring rows share one token, the last of one and the first of the next, so that no target is lost at a cut.
    """
    num_tokens = int(layout.ends[-1])
    place = rows[:, None] * (length - 1) + np.arange(length)
    is_real = place < num_tokens
    place = np.where(is_real, place + layout.start, layout.start)
    laps, place = np.divmod(place, num_tokens)
    document = np.searchsorted(layout.ends, place, side="right")
    within = place - (layout.ends[document] - layout.sizes[document])
    inputs = np.where(is_real, tokens.gather(tokens.offsets[layout.order[document]] + within), pad)
    # A document split by the turn is two sequences: one at the end of the long row, one at its beginning.
    number = document + laps * len(layout.order)
    steps = np.diff(number, axis=1, prepend=number[:, :1]) != 0
    segments = np.where(is_real, 1 + np.cumsum(steps, axis=1), 0).astype(np.int32)
    positions = np.where(is_real, np.minimum(within, np.arange(length)), 0)
    return _batch(inputs, is_real, positions, segments, pad)


def _check_length(length: int) -> None:
    if length < 2:
        raise ConfigError(f"length is {length}; a row needs at least 2 tokens, one to read and one to predict")


def _check_tokens(tokens: Tokens, length: int) -> None:
    _check_length(length)
    if int(tokens.offsets[-1]) < 2:
        raise DataError(f"there are {int(tokens.offsets[-1])} tokens to train on; expected at least 2")


def pack_documents(tokens: Tokens, length: int, pad_id: int = PAD_ID) -> Batch:
    """All documents in their order, cut into rows of `length`; each token but a document's first is a target once."""
    _check_tokens(tokens, length)
    rows = np.arange(_num_document_rows(int(tokens.offsets[-1]), length))
    return _document_rows(tokens, _Layout(tokens, np.arange(len(tokens.offsets) - 1)), rows, length, pad_id)


# Conversations: rows of whole sequences.


@dataclass(frozen=True)
class Fit:
    """How sequences went into rows: `num_cut` were too long and keep their beginning, `num_dropped` have no target."""

    num_sequences: int
    num_rows: int
    num_cut: int
    num_dropped: int


class _Sequences:
    """Sequences laid one after the other, and which of them each row holds."""

    def __init__(self, sequences: Sequence[Rendered], rows: Sequence[Sequence[int]] | None = None) -> None:
        self.laid = TokenArray.of([s.ids for s in sequences])
        self.trained = np.concatenate([np.empty(0, np.bool_), *(np.asarray(s.trained, np.bool_) for s in sequences)])
        rows = [[i] for i in range(len(sequences))] if rows is None else rows
        self.members = TokenArray.of(rows)

    def batch(self, rows: NDArray[np.int64], length: int, pad: int) -> Batch:
        """These rows, each sequence from its beginning, cut to the first `length` tokens."""
        counts = np.diff(self.members.offsets)[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        slot = _count_up(counts)
        sequence = self.members.gather(np.repeat(self.members.offsets[rows], counts) + slot)
        sizes = np.minimum(np.diff(self.laid.offsets)[sequence], length)
        before = np.cumsum(sizes) - sizes
        column = before - np.repeat(before[np.cumsum(counts) - counts], counts)
        within = _count_up(sizes)
        source = np.repeat(self.laid.offsets[sequence], sizes) + within
        place = (np.repeat(row, sizes), np.repeat(column, sizes) + within)
        shape = (len(rows), length)
        inputs = np.full(shape, pad, np.int64)
        trained = np.zeros(shape, np.bool_)
        positions = np.zeros(shape, np.int64)
        segments = np.zeros(shape, np.int32)
        inputs[place] = self.laid.gather(source)
        trained[place] = self.trained[source]
        positions[place] = within
        segments[place] = np.repeat(slot + 1, sizes)
        return _batch(inputs, trained, positions, segments, pad)


def _count_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, .. for each count, one after the other: [2, 3] gives [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _best_fit(sizes: NDArray[np.int64], length: int) -> list[list[int]]:
    """Indices of the sequences of each row: the longest first, each into the fullest row that still has room."""
    rows: list[list[int]] = []
    rooms: list[list[int]] = [[] for _ in range(length + 1)]  # rows by the room they have left
    free = 0  # bit r is set where rooms[r] has a row
    for i in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[i])
        fitting = free >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = rooms[room].pop()
            if not rooms[room]:
                free ^= 1 << room
            rows[row].append(i)
        else:
            room, row = length, len(rows)
            rows.append([i])
        rooms[room - size].append(row)
        free |= 1 << (room - size)
    return rows


def _fit(chats: Sequence[Rendered], length: int) -> tuple[_Sequences, Fit]:
    _check_length(length)
    # Too long, the beginning is kept: every trained token then still follows the whole of its context.
    kept = [c for c in chats if any(c.trained[1:length])]
    if not kept:
        raise DataError(f"none of {len(chats)} conversations has a trained token within {length} tokens")
    sizes = np.array([min(len(c.ids), length) for c in kept])
    rows = _best_fit(sizes, length)
    num_cut = sum(len(c.ids) > length for c in kept)
    return _Sequences(kept, rows), Fit(len(chats), len(rows), num_cut, len(chats) - len(kept))


def pack_chats(chats: Sequence[Rendered], length: int, pad_id: int = PAD_ID) -> tuple[Batch, Fit]:
    """Conversations packed into few rows of `length`, none cut in two; DataError when none has anything to train on."""
    sequences, fit = _fit(chats, length)
    return sequences.batch(np.arange(fit.num_rows), length, pad_id), fit


def pad_rows(sequences: Sequence[Rendered], length: int | None = None, pad_id: int = PAD_ID) -> Batch:
    """One sequence in each row, padding on the right; `length` None is the longest. DataError when one is longer."""
    longest = max((len(s.ids) for s in sequences), default=0)
    length = max(longest, 2) if length is None else length
    _check_length(length)
    if longest > length:
        raise DataError(f"a sequence has {longest} tokens; expected at most {length}")
    return _Sequences(sequences).batch(np.arange(len(sequences)), length, pad_id)


# Steps: rows to micro-batches, the same on every rank.


def _share(rows: NDArray[np.int64], micro_rows: int, rank: int, world_size: int) -> list[NDArray[np.int64]]:
    """The rows of each micro-batch of this rank; equally many on all ranks, the last ones may be short or empty."""
    num_micro = -(-len(rows) // (micro_rows * world_size))
    mine = rows[rank::world_size]
    return [mine[i * micro_rows : (i + 1) * micro_rows] for i in range(num_micro)]


def _take(batch: Batch, rows: NDArray[np.int64], num_rows: int, pad: int, group: int = 1) -> Batch:
    """Some groups of rows, filled up with padding to `num_rows` groups; `extra` of a filled group is 0."""
    fillers = {"inputs": pad, "targets": pad}
    index = torch.from_numpy((rows[:, None] * group + np.arange(group)).reshape(-1))
    groups = torch.from_numpy(rows)

    def take(name: str, tensor: Tensor) -> Tensor:
        if tensor.dim() == 0:
            return tensor
        per_group = 1 if name in batch.extra and tensor.shape[0] * group == batch.num_rows else group
        out = tensor.new_full((num_rows * per_group, *tensor.shape[1:]), fillers.get(name, 0))
        chosen = groups if per_group == 1 else index
        out[: len(chosen)] = tensor[chosen]
        return out

    names = [f.name for f in dataclasses.fields(batch) if f.name != "extra"]
    extra = {name: take(name, tensor) for name, tensor in batch.extra.items()}
    return Batch(**{name: take(name, getattr(batch, name)) for name in names}, extra=extra)


def micro_batches(
    batch: Batch, micro_rows: int, *, pad_id: int = PAD_ID, rank: int = 0, world_size: int = 1, group: int = 1
) -> list[Batch]:
    """This rank's share of a step, in micro-batches of exactly `micro_rows` rows, equally many on every rank.

    `group` neighbouring rows (2 for pairs) stay together, and `micro_rows` is a multiple of it. A tensor of `extra` with
    one entry a row or a group is split too, a single number is given to all. Missing rows are padding of weight 0.
    """
    if micro_rows < 1 or micro_rows % group or batch.num_rows % group:
        raise ConfigError(f"{batch.num_rows} rows in micro-batches of {micro_rows}; expected multiples of {group}")
    shares = _share(np.arange(batch.num_rows // group), micro_rows // group, rank, world_size)
    return [_take(batch, rows, micro_rows // group, pad_id, group) for rows in shares]


class Source(Protocol):
    """Where the loop gets its steps from. One whose `read_ahead` is true may be asked for a step before it is due."""

    read_ahead: bool

    def next_step(self) -> list[Batch]: ...

    def observe(self, metrics: Mapping[str, float]) -> None: ...

    def reseed(self, attempt: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class _Rows(ABC):
    """A source over a fixed set of items (rows or pairs), gone through epoch after epoch, in a fresh order each time."""

    read_ahead = True
    group = 1

    def __init__(
        self, num_rows: int, length: int, per_step: int, micro: int, seed: int, pad_id: int, rank: int, world_size: int
    ) -> None:
        if per_step < 1 or micro < 1:
            raise ConfigError(f"{per_step} rows a step in micro-batches of {micro}; both must be at least 1")
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank is {rank} of {world_size}; expected 0 to {world_size - 1}")
        self.num_rows = num_rows
        self.length = length
        self.per_step = per_step
        self.micro = micro
        self.seed = self.first_seed = seed
        self.pad_id = pad_id
        self.rank = rank
        self.world_size = world_size
        self.step = 0
        # A step may lie across two epochs; an older one is not asked for again.
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    @abstractmethod
    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        """The batch of these items of an epoch; epoch None is the natural order."""

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng(derive_seed(self.seed, "rows", epoch)).permutation(self.num_rows)

    def steps(self, epochs: float) -> int:
        """How many steps go through all rows `epochs` times (the last one may begin the next epoch)."""
        return max(1, -int(-epochs * self.num_rows // self.per_step))

    def next_step(self) -> list[Batch]:
        """This rank's micro-batches of the next step; there is always a next one."""
        index = np.arange(self.step * self.per_step, (self.step + 1) * self.per_step)
        self.step += 1
        return [self._micro_batch(share) for share in _share(index, self.micro, self.rank, self.world_size)]

    def _micro_batch(self, index: NDArray[np.int64]) -> Batch:
        """The items with these numbers, counted from the first epoch on; `micro` of them with the padding."""
        epochs, places = np.divmod(index, self.num_rows)
        parts = [(int(e), self._order(int(e))[places[epochs == e]]) for e in np.unique(epochs)]
        return self._filled(parts)

    def _filled(self, parts: Sequence[tuple[int | None, NDArray[np.int64]]]) -> Batch:
        made = [self._make(epoch, rows) for epoch, rows in parts] or [self._make(None, np.empty(0, np.int64))]
        batch = _cat(made, self.pad_id)
        return _take(batch, np.arange(batch.num_rows // self.group), self.micro, self.pad_id, self.group)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Nothing here learns from the training."""
        del metrics

    def reseed(self, attempt: int) -> None:
        """Another order from here on, a function of the first seed and the attempt."""
        self.seed = derive_seed(self.first_seed, "attempt", attempt)
        self._order.cache_clear()

    def _identity(self) -> dict[str, int]:
        return {"num_rows": self.num_rows, "length": self.length, "per_step": self.per_step, "seed": self.seed}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was; CheckpointError when it belongs to other rows, another seed or another step size."""
        for key, mine in self._identity().items():
            if state.get(key) != mine:
                raise CheckpointError(f"the data of the checkpoint had {key} {state.get(key)!r}; here it is {mine!r}")
        self.step = int(state["step"])


def _cat(batches: Sequence[Batch], pad: int) -> Batch:
    """All rows of several batches, widened with padding to the longest."""
    length = max(b.length for b in batches)

    def widen(name: str, tensor: Tensor) -> Tensor:
        filler = pad if name in ("inputs", "targets") else 0
        return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=filler)

    names = [f.name for f in dataclasses.fields(Batch) if f.name != "extra"]
    tensors = {name: torch.cat([widen(name, getattr(b, name)) for b in batches]) for name in names}
    return Batch(**tensors, extra={k: torch.cat([b.extra[k] for b in batches]) for k in batches[0].extra})


class PackedTokens(_Rows):
    """Rows of `length` tokens for pretraining: documents in a fresh order each epoch, rows cut, rows shuffled."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        length: int,
        rows_per_step: int,
        micro_rows: int,
        seed: int,
        pad_id: int = PAD_ID,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_tokens(tokens, length)
        num_rows = _num_document_rows(int(tokens.offsets[-1]), length)
        super().__init__(num_rows, length, rows_per_step, micro_rows, seed, pad_id, rank, world_size)
        self.tokens = tokens
        self._layout = functools.lru_cache(maxsize=2)(self._laid_out)

    def reseed(self, attempt: int) -> None:
        super().reseed(attempt)
        self._layout.cache_clear()

    def _laid_out(self, epoch: int | None) -> _Layout:
        num_documents = len(self.tokens.offsets) - 1
        if epoch is None:
            return _Layout(self.tokens, np.arange(num_documents))
        generator = np.random.default_rng(derive_seed(self.seed, "documents", epoch))
        order = generator.permutation(num_documents)
        # The long row begins anywhere, so that a corpus of one long document is cut elsewhere each epoch.
        return _Layout(self.tokens, order, int(generator.integers(int(self.tokens.offsets[-1]))))

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        return _document_rows(self.tokens, self._layout(epoch), rows, self.length, self.pad_id)


class PackedChats(_Rows):
    """Rows of whole conversations for fine-tuning, packed once and shuffled each epoch; `fit` says how they went in."""

    def __init__(
        self,
        chats: Sequence[Rendered],
        *,
        length: int,
        rows_per_step: int,
        micro_rows: int,
        seed: int,
        pad_id: int = PAD_ID,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._sequences, self.fit = _fit(chats, length)
        super().__init__(self.fit.num_rows, length, rows_per_step, micro_rows, seed, pad_id, rank, world_size)

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        return self._sequences.batch(rows, self.length, self.pad_id)


class PaddedPairs(_Rows):
    """Preferences: rows 2i and 2i + 1 are the chosen and the rejected answer of pair i.

    `extra` has "label", "margin" and "weight" (P,) float32 for P pairs; the weight is 0 where a pair is padding. A pair
    with an answer longer than `length` is dropped whole (`num_dropped`): half an answer is not what was judged. A
    micro-batch is as wide as the smallest of length, 1/2, 1/4 and 1/8 of it that holds its longest row.
    """

    group = 2

    def __init__(
        self,
        pairs: Sequence[RenderedPair],
        *,
        length: int,
        pairs_per_step: int,
        micro_pairs: int,
        seed: int,
        pad_id: int = PAD_ID,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_length(length)
        kept = [p for p in pairs if max(len(p.chosen.ids), len(p.rejected.ids)) <= length]
        if not kept:
            raise DataError(f"none of {len(pairs)} pairs fits into {length} tokens; expected at least one")
        super().__init__(len(kept), length, pairs_per_step, micro_pairs, seed, pad_id, rank, world_size)
        self.num_dropped = len(pairs) - len(kept)
        self._sequences = _Sequences([side for p in kept for side in (p.chosen, p.rejected)])
        self._longest = np.array([max(len(p.chosen.ids), len(p.rejected.ids)) for p in kept])
        self._label = torch.tensor([p.label for p in kept], dtype=torch.float32)
        self._margin = torch.tensor([p.margin for p in kept], dtype=torch.float32)

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        widths = [w for w in (self.length // 8, self.length // 4, self.length // 2) if w >= 2]
        longest = int(self._longest[rows].max(initial=0))
        width = next((w for w in widths if w >= longest), self.length)
        batch = self._sequences.batch((rows[:, None] * 2 + np.arange(2)).reshape(-1), width, self.pad_id)
        pairs = torch.from_numpy(rows)
        extra = {"label": self._label[pairs], "margin": self._margin[pairs], "weight": torch.ones(len(rows))}
        return dataclasses.replace(batch, extra=extra)


def held_out(source: PackedTokens | PackedChats | PaddedPairs, max_rows: int | None = None) -> list[Batch]:
    """Every row of a source once, in natural order, in micro-batches; this rank's share. The source stays where it is."""
    rows = np.arange(min(source.num_rows, max_rows or source.num_rows))
    return [source._filled([(None, share)]) for share in _share(rows, source.micro, source.rank, source.world_size)]

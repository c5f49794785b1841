"""Token ids to the tensors of a training step, and the only place where targets are shifted.

A row holds whole sequences one after another: documents, conversations, or a single padded one. `segments` numbers the
sequences of a row from 1 on, 0 is padding; `positions` count from 0 in each; column t is about predicting `targets[:,
t]`, which is `inputs[:, t + 1]`, so the last column and the last token of every sequence have weight 0.

`steps.py` cuts training steps from these rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.data.shards import TokenArray, Tokens
from jielong.errors import ConfigError, DataError
from jielong.tokens.chat import Rendered

PAD_ID = 1

# B rows in a batch, T columns, N tokens, R rows of an epoch.


@dataclass(frozen=True)
class Batch:
    """Rows of tokens. `inputs`, `targets`, `positions` (B, T) int64; `segments` (B, T) int32; `weights` (B, T) float32.

    Each tensor in `extra` has B rows, or B / group if rows belong together (pairs), or is one number for the step. Only
    "ends" differs: see `ends`.
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
        """Return the (B,) int64 column of the last token that is not padding, where a scalar head is read, or 0 if
        there is none.
        """
        columns = torch.arange(self.length, device=self.segments.device)
        return (columns * (self.segments != 0)).amax(dim=1)

    @property
    def ends(self) -> Tensor:
        """Return the (N,) int64 place of the last token of each of N sequences, counting columns row after row.

        Rows that hold several sequences have it in `extra`; otherwise a sequence is a row.
        """
        if "ends" in self.extra:
            return self.extra["ends"]
        return torch.arange(self.num_rows, device=self.segments.device) * self.length + self.last

    def to(self, device: torch.device | str) -> Batch:
        return self._each(lambda t: t.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {f.name: change(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "extra"}
        return Batch(**tensors, extra={k: change(v) for k, v in self.extra.items()})


def _batch(
    inputs: NDArray[Any], trained: NDArray[Any], positions: NDArray[Any], segments: NDArray[Any], pad: int
) -> Batch:
    """Build a Batch from token ids (B, T); the only place where targets are shifted left.

    All arguments are (B, T). `trained` is the weight of each token as a target.
    """
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


def num_document_rows(num_tokens: int, length: int) -> int:
    return -(-(num_tokens - 1) // (length - 1))


class Layout:
    """Documents laid end to end in `order` as one long row, rotated to begin at token `start`."""

    def __init__(self, tokens: Tokens, order: NDArray[np.int64], start: int = 0) -> None:
        self.order = order
        self.start = start
        self.sizes = np.diff(tokens.offsets)[order]
        self.ends = np.cumsum(self.sizes)


def document_rows(tokens: Tokens, layout: Layout, rows: NDArray[np.int64], length: int, pad: int) -> Batch:
    """Cut the rows with these numbers out of the long row.

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


def check_length(length: int) -> None:
    if length < 2:
        raise ConfigError(f"length is {length}; a row needs at least 2 tokens, one to read and one to predict")


def check_tokens(tokens: Tokens, length: int) -> None:
    check_length(length)
    if int(tokens.offsets[-1]) < 2:
        raise DataError(f"there are {int(tokens.offsets[-1])} tokens to train on; expected at least 2")


def pack_documents(tokens: Tokens, length: int, pad_id: int = PAD_ID) -> Batch:
    """Pack all documents in their order into rows of `length`; each token but a document's first is a target once."""
    check_tokens(tokens, length)
    rows = np.arange(num_document_rows(int(tokens.offsets[-1]), length))
    return document_rows(tokens, Layout(tokens, np.arange(len(tokens.offsets) - 1)), rows, length, pad_id)


# Conversations: rows of whole sequences.


@dataclass(frozen=True)
class Fit:
    """The result of packing sequences into rows: `num_cut` were too long and keep their beginning, `num_dropped` have
    no target.
    """

    num_sequences: int
    num_rows: int
    num_cut: int
    num_dropped: int


class Sequences:
    """Sequences and their assignment to rows."""

    def __init__(self, sequences: Sequence[Rendered], rows: Sequence[Sequence[int]] | None = None) -> None:
        self.laid = TokenArray.of([s.ids for s in sequences])
        self.trained = np.concatenate([np.empty(0, np.bool_), *(np.asarray(s.trained, np.bool_) for s in sequences)])
        rows = [[i] for i in range(len(sequences))] if rows is None else rows
        self.members = TokenArray.of(rows)

    def batch(self, rows: NDArray[np.int64], length: int, pad: int) -> Batch:
        """Build a batch of the rows with these numbers, each sequence cut to its first `length` tokens."""
        counts = np.diff(self.members.offsets)[rows]
        sequence = self.members.gather(np.repeat(self.members.offsets[rows], counts) + _count_up(counts))
        return self._laid_out(sequence, counts, length, pad)

    def packed(self, sequence: NDArray[np.int64], length: int, pad: int) -> tuple[Batch, NDArray[np.int64]]:
        """Pack these sequences, none longer than `length`, into few rows (at least one); also return the place of each
        one's last token.

        Places are counted as in `Batch.ends`.
        """
        sizes = np.diff(self.laid.offsets)[sequence]
        rows = _best_fit(sizes, length) or [[]]
        order = np.array([i for row in rows for i in row], np.int64)
        counts = np.array([len(row) for row in rows])
        ends = np.empty(len(order), np.int64)
        ends[order] = np.concatenate([n * length + np.cumsum(sizes[row]) for n, row in enumerate(rows)]) - 1
        return self._laid_out(sequence[order], counts, length, pad), ends

    def _laid_out(self, sequence: NDArray[np.int64], counts: NDArray[np.int64], length: int, pad: int) -> Batch:
        """Build rows that hold `counts[i]` of the sequences each, in order."""
        row = np.repeat(np.arange(len(counts)), counts)
        slot = _count_up(counts)
        sizes = np.minimum(np.diff(self.laid.offsets)[sequence], length)
        before = np.cumsum(sizes) - sizes
        column = before - before[np.repeat(np.cumsum(counts) - counts, counts)]
        within = _count_up(sizes)
        source = np.repeat(self.laid.offsets[sequence], sizes) + within
        place = (np.repeat(row, sizes), np.repeat(column, sizes) + within)
        shape = (len(counts), length)
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
    """Count from 0 to each count: [2, 3] gives [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _best_fit(sizes: NDArray[np.int64], length: int) -> list[list[int]]:
    """Assign sequences to rows: the longest first, each into the fullest row that still has room; return indices for
    each row.
    """
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


def fit_rows(chats: Sequence[Rendered], length: int) -> tuple[Sequences, Fit]:
    """Assign conversations to rows of `length`, leaving out those without a trained token. Raises DataError if none is
    left.
    """
    check_length(length)
    # Too long, the beginning is kept: every trained token then still follows the whole of its context.
    kept = [c for c in chats if any(c.trained[1:length])]
    if not kept:
        raise DataError(f"none of {len(chats)} conversations has a trained token within {length} tokens")
    sizes = np.array([min(len(c.ids), length) for c in kept])
    rows = _best_fit(sizes, length)
    num_cut = sum(len(c.ids) > length for c in kept)
    return Sequences(kept, rows), Fit(len(chats), len(rows), num_cut, len(chats) - len(kept))


def pack_chats(chats: Sequence[Rendered], length: int, pad_id: int = PAD_ID) -> tuple[Batch, Fit]:
    """Pack conversations into few rows of `length`, none split between rows. Raises DataError if none has a trained
    token.
    """
    sequences, fit = fit_rows(chats, length)
    return sequences.batch(np.arange(fit.num_rows), length, pad_id), fit


def pad_rows(sequences: Sequence[Rendered], length: int | None = None, pad_id: int = PAD_ID) -> Batch:
    """Build a batch of one sequence a row, padded on the right to `length` or the longest. Raises DataError if one is
    longer.
    """
    longest = max((len(s.ids) for s in sequences), default=0)
    length = max(longest, 2) if length is None else length
    check_length(length)
    if longest > length:
        raise DataError(f"a sequence has {longest} tokens; expected at most {length}")
    return Sequences(sequences).batch(np.arange(len(sequences)), length, pad_id)

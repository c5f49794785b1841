"""Training steps: the assignment of rows to micro-batches and ranks, and sources of consecutive steps.

The rows of step s are a function of (seed, s) alone: the size of a micro-batch, the number of ranks, and stops in
between change nothing. Every rank gets equally many micro-batches of the same number of rows; missing rows are padding,
which weighs nothing. Only packed pairs fill as many rows as they need.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.data.batches import (
    PAD_ID,
    Batch,
    Layout,
    Sequences,
    check_length,
    check_tokens,
    document_rows,
    fit_rows,
    num_document_rows,
)
from jielong.data.shards import Tokens
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered, RenderedPair


def _rows_of_rank(rows: NDArray[np.int64], micro_rows: int, rank: int, world_size: int) -> list[NDArray[np.int64]]:
    """Return the rows of each micro-batch of this rank. All ranks have equally many; the last ones may be short or
    empty.
    """
    num_micro = -(-len(rows) // (micro_rows * world_size))
    mine = rows[rank::world_size]
    return [mine[i * micro_rows : (i + 1) * micro_rows] for i in range(num_micro)]


def _take_groups(batch: Batch, rows: NDArray[np.int64], num_rows: int, pad: int, group: int = 1) -> Batch:
    """Take some groups of rows, filled up with padding to `num_rows` groups; `extra` of a filled group is 0."""
    fillers = {"inputs": pad, "targets": pad}
    index = torch.from_numpy((rows[:, None] * group + np.arange(group)).reshape(-1))
    groups = torch.from_numpy(rows)

    def take(name: str, tensor: Tensor) -> Tensor:
        """Take the chosen rows of one tensor, filled up."""
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
    """Split this rank's share of a step into micro-batches of exactly `micro_rows` rows, equally many on every rank.

    `group` neighbouring rows (2 for pairs) stay together, and `micro_rows` is a multiple of it. A tensor of `extra`
    with one entry a row or a group is split too, a single number is given to all. Missing rows are padding of weight 0.
    """
    if micro_rows < 1 or micro_rows % group or batch.num_rows % group:
        raise ConfigError(f"{batch.num_rows} rows in micro-batches of {micro_rows}; expected multiples of {group}")
    shares = _rows_of_rank(np.arange(batch.num_rows // group), micro_rows // group, rank, world_size)
    return [_take_groups(batch, rows, micro_rows // group, pad_id, group) for rows in shares]


class Source(Protocol):
    """The protocol of a supplier of training steps. With `read_ahead`, a step may be prepared before the loop needs it."""

    read_ahead: bool

    def next_step(self) -> list[Batch]: ...

    def observe(self, metrics: Mapping[str, float]) -> None: ...

    def metrics(self) -> dict[str, float]:
        """Return the source's own metrics of the last step, such as a rollout's score, KL to the reference and length."""
        ...

    def reseed(self, attempt: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Rows(ABC):
    """A source over a fixed set of items (rows or pairs), in a fresh order each epoch."""

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
        """Build the batch of these items of an epoch; epoch None is the natural order."""

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng(derive_seed(self.seed, "rows", epoch)).permutation(self.num_rows)

    def steps(self, epochs: float) -> int:
        """Return the number of steps for `epochs` passes over all rows (the last step may begin the next epoch)."""
        return max(1, -int(-epochs * self.num_rows // self.per_step))

    def next_step(self) -> list[Batch]:
        """Return this rank's micro-batches of the next step; there is always a next one."""
        index = np.arange(self.step * self.per_step, (self.step + 1) * self.per_step)
        self.step += 1
        return [self._micro_batch(share) for share in _rows_of_rank(index, self.micro, self.rank, self.world_size)]

    def _micro_batch(self, index: NDArray[np.int64]) -> Batch:
        """Build the batch of the items with these numbers, counted from the first epoch on, padded to `micro` items."""
        epochs, places = np.divmod(index, self.num_rows)
        parts = [(int(e), self._order(int(e))[places[epochs == e]]) for e in np.unique(epochs)]
        return self._filled(parts)

    def _filled(self, parts: Sequence[tuple[int | None, NDArray[np.int64]]]) -> Batch:
        made = [self._make(epoch, rows) for epoch, rows in parts] or [self._make(None, np.empty(0, np.int64))]
        batch = _concatenate(made, self.pad_id)
        return _take_groups(batch, np.arange(batch.num_rows // self.group), self.micro, self.pad_id, self.group)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Ignore metrics: a fixed set of rows does not depend on training."""
        del metrics

    def metrics(self) -> dict[str, float]:
        return {}

    def reseed(self, attempt: int) -> None:
        """Change the order from here on, a function of the first seed and the attempt."""
        self.seed = derive_seed(self.first_seed, "attempt", attempt)
        self._order.cache_clear()

    def _identity(self) -> dict[str, int]:
        return {"num_rows": self.num_rows, "length": self.length, "per_step": self.per_step, "seed": self.seed}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. Raises CheckpointError if it belongs to other rows, another seed or another step
        size.
        """
        for key, mine in self._identity().items():
            if state.get(key) != mine:
                raise CheckpointError(f"the data of the checkpoint had {key} {state.get(key)!r}; here it is {mine!r}")
        self.step = int(state["step"])


def _concatenate(batches: Sequence[Batch], pad: int) -> Batch:
    """Join all rows of several batches, padded to the longest."""
    length = max(b.length for b in batches)

    def widen(name: str, tensor: Tensor) -> Tensor:
        filler = pad if name in ("inputs", "targets") else 0
        return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=filler)

    names = [f.name for f in dataclasses.fields(Batch) if f.name != "extra"]
    tensors = {name: torch.cat([widen(name, getattr(b, name)) for b in batches]) for name in names}
    return Batch(**tensors, extra={k: torch.cat([b.extra[k] for b in batches]) for k in batches[0].extra})


class PackedTokens(Rows):
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
        check_tokens(tokens, length)
        num_rows = num_document_rows(int(tokens.offsets[-1]), length)
        super().__init__(num_rows, length, rows_per_step, micro_rows, seed, pad_id, rank, world_size)
        self.tokens = tokens
        self._layout = functools.lru_cache(maxsize=2)(self._laid_out)

    def reseed(self, attempt: int) -> None:
        super().reseed(attempt)
        self._layout.cache_clear()

    def _laid_out(self, epoch: int | None) -> Layout:
        """Lay the documents of an epoch end to end, in a fresh order from a random start; epoch None is the natural
        order.
        """
        num_documents = len(self.tokens.offsets) - 1
        if epoch is None:
            return Layout(self.tokens, np.arange(num_documents))
        generator = np.random.default_rng(derive_seed(self.seed, "documents", epoch))
        order = generator.permutation(num_documents)
        # The long row begins anywhere, so that a corpus of one long document is cut elsewhere each epoch.
        return Layout(self.tokens, order, int(generator.integers(int(self.tokens.offsets[-1]))))

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        return document_rows(self.tokens, self._layout(epoch), rows, self.length, self.pad_id)


class PackedChats(Rows):
    """Rows of whole conversations for fine-tuning, packed once and shuffled each epoch; `fit` counts the packing."""

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
        self._sequences, self.fit = fit_rows(chats, length)
        super().__init__(self.fit.num_rows, length, rows_per_step, micro_rows, seed, pad_id, rank, world_size)

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        return self._sequences.batch(rows, self.length, self.pad_id)


class PaddedPairs(Rows):
    """Preferences: rows 2i and 2i + 1 are the chosen and the rejected answer of pair i.

    `extra` has "label", "margin" and "weight" (P,) float32 for P pairs; the weight is 0 where a pair is padding. If
    every pair has them, "ref_logprobs" (P, 2) are both answers' log-probabilities before training, in nats. A pair with
    an answer longer than `length` is dropped whole (`num_dropped`): half an answer is not what was judged. A
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
        check_length(length)
        kept = [p for p in pairs if max(len(p.chosen.ids), len(p.rejected.ids)) <= length]
        if not kept:
            raise DataError(f"none of {len(pairs)} pairs fits into {length} tokens; expected at least one")
        super().__init__(len(kept), length, pairs_per_step, micro_pairs, seed, pad_id, rank, world_size)
        self.num_dropped = len(pairs) - len(kept)
        self._sequences = Sequences([side for p in kept for side in (p.chosen, p.rejected)])
        self._longest = np.array([max(len(p.chosen.ids), len(p.rejected.ids)) for p in kept])
        self._label = torch.tensor([p.label for p in kept], dtype=torch.float32)
        self._margin = torch.tensor([p.margin for p in kept], dtype=torch.float32)
        known = [p.ref_logprobs for p in kept if p.ref_logprobs is not None]
        self._reference = torch.tensor(known, dtype=torch.float32) if len(known) == len(kept) else None

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        batch = self._sequences.batch(self._sides(rows), self._width(rows), self.pad_id)
        return dataclasses.replace(batch, extra=self._extra(rows))

    def _sides(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sequences of these pairs, chosen and rejected in turn."""
        return (rows[:, None] * 2 + np.arange(2)).reshape(-1)

    def _width(self, rows: NDArray[np.int64]) -> int:
        widths = [w for w in (self.length // 8, self.length // 4, self.length // 2) if w >= 2]
        longest = int(self._longest[rows].max(initial=0))
        return next((w for w in widths if w >= longest), self.length)

    def _extra(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        pairs = torch.from_numpy(rows)
        extra = {"label": self._label[pairs], "margin": self._margin[pairs], "weight": torch.ones(len(rows))}
        return extra if self._reference is None else extra | {"ref_logprobs": self._reference[pairs]}


class PackedPairs(PaddedPairs):
    """The same pairs in the same steps, packed several to a row: padding would fill half of the positions.

    `extra` also has "ends" (2P,): 2i and 2i + 1 are the chosen and the rejected answer of pair i. The number of rows of
    a micro-batch depends on its answers, so nothing is filled up.
    """

    def _filled(self, parts: Sequence[tuple[int | None, NDArray[np.int64]]]) -> Batch:
        rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in parts)])
        batch, ends = self._sequences.packed(self._sides(rows), self._width(rows), self.pad_id)
        return dataclasses.replace(batch, extra={**self._extra(rows), "ends": torch.from_numpy(ends)})


def held_out(source: Rows, max_rows: int | None = None) -> list[Batch]:
    """Return a held-out source as micro-batches: every row once, in natural order, for this rank. Its state does not
    change.
    """
    rows = np.arange(min(source.num_rows, max_rows or source.num_rows))
    return [
        source._filled([(None, share)]) for share in _rows_of_rank(rows, source.micro, source.rank, source.world_size)
    ]

"""CUDA graphs of decoding passes, captured once for each shape and replayed.

A small model's kernels are over sooner than a program can launch the next one, and a captured graph launches all of
them at once. A graph reads and writes the memory that it was captured with. So inputs that change from pass to pass
(ids, positions, and the rows whose logits are asked for) are copied into place before; weights are loaded into the
places of the old ones (`packed.keep`); and shapes come in few sizes, as each is captured and kept. All rows from the
first on are computed, and some more: the values for rows that do not write land on a position that holds nothing yet,
which every slot has, as a last token is never written.
"""
# B rows, T tokens of each, N tokens whose logits are asked for, V vocabulary.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.generate.packed import PackedModel
from jielong.generate.sampling import to_device
from jielong.model.cache import Cache
from jielong.model.config import ModelConfig

SHORTEST = 256
"""Positions that attention sees at least; few shapes are worth more than the keys that are read in vain."""
KEPT = 64
"""Shapes whose graphs are kept, those used last."""


@dataclass
class Pass:
    """One shape's graph: `inputs` (2, B, T) ids and positions, `places` (N,) of tokens in the flat line of B*T."""

    inputs: Tensor
    places: Tensor
    graph: torch.cuda.CUDAGraph


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is no smaller."""
    return 1 << (number - 1).bit_length()


class Graphs:
    """The passes of a packed model over its cache, on a GPU.

    Where a shape is new it is captured, for which the GPU is waited for and torch's spare memory given back: tenths of a
    second.
    """

    def __init__(self, model: PackedModel, cache: Cache) -> None:
        self.model, self.cache = model, cache
        self.passes: dict[tuple[int, int, int, int], Pass] = {}
        self.logits = torch.empty(0, model.config.vocab_size, device=model.device)
        self._pool: Any = None
        self._aside: torch.cuda.Stream | None = None

    @staticmethod
    def can(config: ModelConfig, device: torch.device) -> bool:
        """Whether a pass needs no value on the host: experts wait for their token counts, `dynamic` rope for a row's
        length.
        """
        return device.type == "cuda" and not config.num_experts and not config.is_dynamic

    def write(
        self, last: NDArray[np.int64], positions: NDArray[np.int64], writing: NDArray[np.int64], length: int
    ) -> Tensor:
        """Write the last ids of the rows `writing` (N,), which rise, and return logits (N, V) float32, valid until the
        next call.

        `last` and `positions` (slots,) are the last id of all slots and its position; nobody sees more than `length`
        positions.
        """
        rows = self._rows(writing)
        return self._replay(last[:rows, None], positions[:rows, None], writing, rows, length)

    def is_dense(self, writing: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
        """Whether `verify` would compute little more than it is asked for."""
        return self._rows(writing) * power_of_two(int(counts.max())) <= 4 * int(counts.sum())

    def verify(
        self,
        last: NDArray[np.int64],
        positions: NDArray[np.int64],
        writing: NDArray[np.int64],
        counts: NDArray[np.int64],
        line: NDArray[np.int64],
    ) -> Tensor:
        """Write `counts[i]` ids of the `line` (N,) into row `writing[i]`, from its position on; return logits (N, V) of
        them all.

        Short rows repeat their last token: twice the same keys in one place.
        """
        rows, width = self._rows(writing), power_of_two(int(counts.max()))
        ids, where = (np.repeat(of_slots[:, None], width, axis=1) for of_slots in (last, positions))
        first = np.cumsum(counts) - counts
        within = np.minimum(np.arange(width), counts[:, None] - 1)
        ids[writing] = line[first[:, None] + within]
        where[writing] += within
        places = np.repeat(writing, counts) * width + np.arange(len(line)) - np.repeat(first, counts)
        length = int((positions[writing] + counts).max())
        return self._replay(ids[:rows], where[:rows], places, power_of_two(len(line)), length)

    def _rows(self, writing: NDArray[np.int64]) -> int:
        """Return how many rows, from the first on, are computed for these."""
        return min(power_of_two(int(writing[-1]) + 1), self.cache.slots)

    def _replay(
        self, ids: NDArray[np.int64], positions: NDArray[np.int64], places: NDArray[np.int64], room: int, length: int
    ) -> Tensor:
        """Return logits (N, V) at `places` (N,) of the line of all tokens; a graph asks for `room` of them."""
        step = max(SHORTEST, power_of_two(length) // 8)
        length = min(-(-length // step) * step, self.cache.length)
        padded = np.zeros(room, np.int64)
        padded[: len(places)] = places
        inputs, asked = to_device(np.stack([ids, positions]), self.model.device), to_device(padded, self.model.device)
        shape = (*ids.shape, room, length)
        # the one used last stands last
        found = self.passes.pop(shape, None) or self._capture(inputs, asked, length)
        self.passes[shape] = found
        found.inputs.copy_(inputs)
        found.places.copy_(asked)
        found.graph.replay()
        return self.logits[: len(places)]

    def _capture(self, inputs: Tensor, places: Tensor, length: int) -> Pass:
        """Capture the graph of a shape; `inputs` are written on the way, and once more by the first replay."""
        if len(self.logits) < len(places):
            self.passes.clear()  # they write into the old ones
            self.logits = self.logits.new_empty(len(places), self.logits.shape[1])
        while len(self.passes) >= KEPT:
            del self.passes[next(iter(self.passes))]
        if not self.passes:
            self._pool = torch.cuda.graph_pool_handle()
        logits = self.logits[: len(places)]

        def run() -> None:
            hidden = self.model.grid(self.cache, inputs[0], inputs[1], length)
            logits.copy_(self.model.logits(hidden[places]))

        # what libraries set up when they are first called is not to be captured
        self._aside = self._aside or torch.cuda.Stream()
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            run()
        torch.cuda.current_stream().wait_stream(self._aside)
        graph = torch.cuda.CUDAGraph()
        # graphs are replayed one after the other, so they may use the same memory; other threads may go on meanwhile
        with torch.cuda.graph(graph, pool=self._pool, stream=self._aside, capture_error_mode="thread_local"):
            run()
        return Pass(inputs, places, graph)

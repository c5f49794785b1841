"""CUDA graphs of decoding passes, captured once for each shape and replayed.

A small model's kernels finish sooner than a program can launch the next one. A captured graph launches all of them at
once, and uses fixed memory. So changing inputs (ids, positions, the rows whose logits are needed) are copied into place
first, and weights are loaded over the old ones (`matrices.store_in_place`). Shapes come in few sizes, since each is
captured and kept. All rows from the first on are computed, and some more. Keys and values of rows that do not decode
land on an unused position; every slot has one, since the last token's are never stored.
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
    """One shape's graph: `inputs` (2, B, T) ids and positions, `places` (N,) of tokens among the flattened B*T."""

    inputs: Tensor
    places: Tensor
    graph: torch.cuda.CUDAGraph


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


class Graphs:
    """The captured decoding passes of a packed model over its cache, on a GPU.

    A new shape is captured first, which synchronises the GPU and frees torch's cached memory: tenths of a second.
    """

    def __init__(self, model: PackedModel, cache: Cache) -> None:
        self.model, self.cache = model, cache
        self.passes: dict[tuple[int, int, int, int], Pass] = {}
        self.logits = torch.empty(0, model.config.vocab_size, device=model.device)
        self._pool: Any = None
        self._aside: torch.cuda.Stream | None = None

    @staticmethod
    def supports(config: ModelConfig, device: torch.device) -> bool:
        """Whether passes of a model can be captured: they must need no value on the host, as experts (token counts) and
        `dynamic` rope (a row's length) do.
        """
        return device.type == "cuda" and not config.num_experts and not config.is_dynamic

    def decode(
        self, last: NDArray[np.int64], positions: NDArray[np.int64], writing: NDArray[np.int64], length: int
    ) -> Tensor:
        """Decode the last ids of the rows `writing` (N,), in increasing order; return logits (N, V) float32, valid
        until the next call.

        `last` and `positions` (slots,) are the last id of each slot and its position; attention sees at most `length`
        positions.
        """
        rows = self._rows(writing)
        return self._replay(last[:rows, None], positions[:rows, None], writing, rows, length)

    def is_dense(self, writing: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
        """Whether `verify` would compute few unneeded rows and tokens."""
        return self._rows(writing) * power_of_two(int(counts.max())) <= 4 * int(counts.sum())

    def verify(
        self,
        last: NDArray[np.int64],
        positions: NDArray[np.int64],
        writing: NDArray[np.int64],
        counts: NDArray[np.int64],
        flat_ids: NDArray[np.int64],
    ) -> Tensor:
        """Decode `counts[i]` ids of `flat_ids` (N,) in row `writing[i]`, from its position on; return logits (N, V) of
        them all.

        Short rows repeat their last token, which stores the same keys twice in one place.
        """
        rows, width = self._rows(writing), power_of_two(int(counts.max()))
        ids, where = (np.repeat(of_slots[:, None], width, axis=1) for of_slots in (last, positions))
        first = np.cumsum(counts) - counts
        within = np.minimum(np.arange(width), counts[:, None] - 1)
        ids[writing] = flat_ids[first[:, None] + within]
        where[writing] += within
        places = np.repeat(writing, counts) * width + np.arange(len(flat_ids)) - np.repeat(first, counts)
        length = int((positions[writing] + counts).max())
        return self._replay(ids[:rows], where[:rows], places, power_of_two(len(flat_ids)), length)

    def _rows(self, writing: NDArray[np.int64]) -> int:
        """Return the number of rows, from the first on, that a pass for these rows computes."""
        return min(power_of_two(int(writing[-1]) + 1), self.cache.slots)

    def _replay(
        self, ids: NDArray[np.int64], positions: NDArray[np.int64], places: NDArray[np.int64], room: int, length: int
    ) -> Tensor:
        """Replay the graph for a shape; return logits (N, V) at `places` (N,) of the flattened tokens, of at most
        `room`.
        """
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
        """Capture the graph of a shape. Capturing stores keys and values of `inputs`, and the first replay stores them
        again.
        """
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

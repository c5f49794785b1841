"""Passes of writing on a GPU, captured once for each shape and replayed: a small model's kernels are over sooner than a
program can ask for the next one, and a captured graph asks for all of them at once.

A graph reads and writes the memory that it was captured with. So what changes from pass to pass, ids and positions, is
copied into place before; weights are loaded into the places of the old ones (`packed.into`); and shapes come in few sizes,
as each is captured and kept. All rows from the first on are computed, and some more: what is given for rows that do not
write lands on a position that holds nothing yet.
"""
# B rows, T tokens of each, V vocabulary.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.generate.packed import PackedModel
from jielong.model.cache import Cache
from jielong.model.config import ModelConfig

SHORTEST = 256
"""Positions that attention sees at least; few shapes are worth more than the keys that are read in vain."""


@dataclass
class Pass:
    """One shape's graph: `inputs` (2, B, T) ids and positions, `logits` (B*T, V) float32 once it was replayed."""

    inputs: Tensor
    graph: torch.cuda.CUDAGraph
    logits: Tensor


def power_of_two(number: int) -> int:
    """The least that is no smaller."""
    return 1 << (number - 1).bit_length()


class Graphs:
    """The passes of a packed model over its cache, on a GPU. Captures wherever a shape is new, which takes a moment."""

    def __init__(self, model: PackedModel, cache: Cache) -> None:
        self.model, self.cache = model, cache
        self.passes: dict[tuple[int, int, int], Pass] = {}
        self._pool: Any = None

    @staticmethod
    def can(config: ModelConfig, device: torch.device) -> bool:
        """Whether a pass waits for nothing: experts are told how many tokens they get, `dynamic` turns how long a row is."""
        return device.type == "cuda" and not config.num_experts and not config.is_dynamic

    def write(self, ids: NDArray[np.int64], positions: NDArray[np.int64], num_rows: int, length: int) -> Tensor:
        """Logits (B*T, V) float32 after writing T ids into each of the first rows, `num_rows` or more; valid until the
        next call.

        `ids` and `positions` (slots, T) are those of all slots; nobody sees more than `length` positions.
        """
        rows = min(power_of_two(num_rows), self.cache.slots)
        step = max(SHORTEST, power_of_two(length) // 8)
        length = min(-(-length // step) * step, self.cache.length)
        given = torch.from_numpy(np.stack([ids[:rows], positions[:rows]]))
        shape = (rows, ids.shape[1], length)
        if shape not in self.passes:
            self.passes[shape] = self._capture(given.to(self.model.device), length)
        found = self.passes[shape]
        found.inputs.copy_(given)
        found.graph.replay()
        return found.logits

    def verify(
        self,
        last: NDArray[np.int64],
        positions: NDArray[np.int64],
        writing: NDArray[np.int64],
        counts: NDArray[np.int64],
        line: NDArray[np.int64],
    ) -> Tensor:
        """Logits (N, V) after writing `counts[i]` ids of the `line` (N,) into row `writing[i]`, from its position on.

        `last` and `positions` (slots,) say the last id of all slots and where it goes. Short rows repeat their last token.
        """
        width = power_of_two(int(counts.max()))
        ids, places = (np.repeat(of_slots[:, None], width, axis=1) for of_slots in (last, positions))
        first = np.cumsum(counts) - counts
        within = np.minimum(np.arange(width), counts[:, None] - 1)
        ids[writing] = line[first[:, None] + within]
        places[writing] += within
        length = int((positions[writing] + counts).max())
        logits = self.write(ids, places, int(writing[-1]) + 1, length)
        steps = np.arange(len(line)) - np.repeat(first, counts)
        return logits[torch.from_numpy(np.repeat(writing, counts) * width + steps).to(self.model.device)]

    def _capture(self, inputs: Tensor, length: int) -> Pass:
        """What `inputs` (2, B, T) say is written on the way, and once more by the first replay."""

        def run() -> Tensor:
            return self.model.logits(self.model.grid(self.cache, inputs[0], inputs[1], length))

        # what libraries set up when they are first called is not to be captured
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # one after the other they can use the same memory, but for logits, which are held
        with torch.cuda.graph(graph, pool=self._pool):
            logits = run()
        self._pool = graph.pool()
        return Pass(inputs, graph, logits)

"""What an engine knows of each slot of its cache, as arrays over all slots.

A step touches every row, so whatever it needs of a request lies here as a column of numbers and not in an object; a step
over a hundred rows costs the interpreter hardly more than one over a single row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from jielong.generate.sampling import Rules, uniforms
from jielong.records import Request

FREE, READING, WRITING = 0, 1, 2
AHEAD = 32  # uniforms of one row are computed this many at a time


class Rows:
    """What is known of each slot, as arrays over all slots."""

    def __init__(self, slots: int, length: int) -> None:
        self.phase = np.zeros(slots, np.int8)
        self.position = np.zeros(slots, np.int64)  # how many tokens the cache holds
        self.prompt = np.zeros(slots, np.int64)  # length of the prompt
        self.count = np.zeros(slots, np.int64)  # tokens written
        self.limit = np.zeros(slots, np.int64)
        self.last = np.zeros(slots, np.int64)
        self.order = np.zeros(slots, np.int64)
        self.leader = np.zeros(slots, np.int64)  # the slot that reads the prompt for this one
        self.ids = np.zeros((slots, length), np.int64)
        self.logprobs = np.zeros((slots, length), np.float32)
        self.stop_ids = np.full((slots, 1), -1, np.int64)
        self.seed = np.zeros(slots, np.uint64)
        self.uniform = np.zeros((slots, AHEAD), np.float64)
        self.temperature = np.ones(slots, np.float32)
        self.top_k = np.zeros(slots, np.int64)
        self.top_p = np.ones(slots, np.float64)
        self.min_p = np.zeros(slots, np.float32)
        self.penalty = np.ones(slots, np.float32)
        self.is_masked = np.zeros(slots, np.bool_)

    def place(self, slot: int, leader: int, id: int, request: Request, is_masked: bool) -> None:
        """Give a free slot to request `id`, whose prompt the slot `leader` reads."""
        prompt, sampling = request.prompt_ids, request.sampling
        self.phase[slot], self.position[slot], self.count[slot] = READING, 0, 0
        self.order[slot], self.leader[slot] = id, leader
        self.prompt[slot] = len(prompt)
        self.limit[slot] = min(sampling.max_tokens, self.ids.shape[1] - len(prompt))
        self.ids[slot, : len(prompt)] = prompt
        self.seed[slot] = request.seed & (2**64 - 1)
        self.temperature[slot], self.penalty[slot] = sampling.temperature, sampling.repetition_penalty
        self.top_k[slot], self.top_p[slot], self.min_p[slot] = sampling.top_k, sampling.top_p, sampling.min_p
        self.is_masked[slot] = is_masked
        missing = len(sampling.stop_ids) - self.stop_ids.shape[1]
        if missing > 0:
            self.stop_ids = np.pad(self.stop_ids, ((0, 0), (0, missing)), constant_values=-1)
        self.stop_ids[slot] = -1
        self.stop_ids[slot, : len(sampling.stop_ids)] = sampling.stop_ids

    def rolls(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """The uniform number of the next token of each of `slots`."""
        count = self.count[slots]
        empty = slots[count % AHEAD == 0]
        if len(empty):
            indices = self.count[empty, None] + np.arange(AHEAD)
            self.uniform[empty] = uniforms(np.broadcast_to(self.seed[empty, None], indices.shape), indices)
        return self.uniform[slots, count % AHEAD]

    def note(self, slots: NDArray[np.int64], ids: NDArray[np.int64], logprobs: NDArray[np.float32]) -> None:
        """Write down one new token of each of `slots`; the cache holds all before it."""
        count = self.count[slots]
        self.phase[slots] = WRITING
        self.position[slots] = self.prompt[slots] + count
        self.ids[slots, self.prompt[slots] + count] = ids
        self.logprobs[slots, count] = logprobs
        self.last[slots] = ids
        self.count[slots] += 1

    def rules(self, slots: NDArray[np.int64], device: torch.device) -> Rules:
        """The sampling options of `slots`."""
        return Rules.of(
            self.temperature[slots],
            self.top_k[slots],
            self.top_p[slots],
            self.min_p[slots],
            self.penalty[slots],
            self.is_masked[slots],
            device,
        )

    def seen(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, L) what each slot has read and written, short rows filled with their first id."""
        lengths = self.prompt[slots] + self.count[slots]
        ids = self.ids[slots, : int(lengths.max())]
        return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, ids[:, :1])

    def written(self, slot: int) -> list[int]:
        """The answer so far."""
        start = int(self.prompt[slot])
        return self.ids[slot, start : start + int(self.count[slot])].tolist()

    def free(self, slot: int) -> None:
        self.phase[slot], self.position[slot], self.last[slot] = FREE, 0, 0

    def move(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Give the free slots `targets` what `sources` hold, and free those."""
        for array in vars(self).values():
            array[targets] = array[sources]
        self.phase[sources] = FREE
        self.position[sources], self.last[sources] = 0, 0

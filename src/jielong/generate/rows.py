"""The state of each slot of an engine's cache, as arrays over all slots.

A step touches every row, so the values of requests are array columns and not objects. A step over a hundred rows then
costs the interpreter hardly more than one over a single row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from jielong.generate.sampling import Rules, uniforms
from jielong.records import Request

FREE, READING, WRITING = 0, 1, 2
AHEAD = 32  # uniforms of one row are computed this many at a time
DRAFT = 4  # tokens of a row's first draft
PAUSE = 32  # tokens without a draft after drafts have failed


class Rows:
    """The state of each slot, as arrays over all slots."""

    def __init__(self, slots: int, length: int) -> None:
        self.phase = np.zeros(slots, np.int8)
        self.position = np.zeros(slots, np.int64)  # how many tokens the cache holds, of a free slot too
        self.prompt = np.zeros(slots, np.int64)  # length of the prompt
        self.count = np.zeros(slots, np.int64)  # tokens written
        self.limit = np.zeros(slots, np.int64)
        self.last = np.zeros(slots, np.int64)
        self.order = np.zeros(slots, np.int64)
        self.leader = np.zeros(slots, np.int64)  # the slot that reads the beginning of the prompt for this one,
        self.shared = np.zeros(slots, np.int64)  # and so many tokens of it; one that leads itself shares all
        self.reused = np.zeros(slots, np.int64)  # tokens of the prompt that were not read for this slot
        self.freed = np.zeros(slots, np.int64)  # when it was last freed, in slots freed before
        self.is_outdated = np.zeros(slots, np.bool_)  # its keys are of weights that have been replaced
        self.ids = np.zeros((slots, length), np.int64)
        self.logprobs = np.zeros((slots, length), np.float32)
        self.stop_ids = np.full((slots, 1), -1, np.int64)
        self.seed = np.zeros(slots, np.uint64)
        self.uniform = np.zeros((slots, AHEAD), np.float64)
        self.rolled = np.full(slots, -1, np.int64)  # which AHEAD numbers `uniform` holds
        self.temperature = np.ones(slots, np.float32)
        self.top_k = np.zeros(slots, np.int64)
        self.top_p = np.ones(slots, np.float64)
        self.min_p = np.zeros(slots, np.float32)
        self.penalty = np.ones(slots, np.float32)
        self.is_masked = np.zeros(slots, np.bool_)
        self.reach = np.full(slots, DRAFT, np.int64)  # tokens of the next draft
        self.resume = np.zeros(slots, np.int64)  # no draft before so many tokens are written

    def assign(self, slot: int, id: int, request: Request, is_masked: bool, held: int) -> None:
        """Assign a free slot to request `id`; the slot's cache holds the first `held` tokens of the prompt."""
        prompt, sampling = request.prompt_ids, request.sampling
        self.phase[slot], self.position[slot], self.count[slot] = READING, held, 0
        self.order[slot], self.leader[slot], self.is_outdated[slot] = id, slot, False
        self.prompt[slot] = self.shared[slot] = len(prompt)
        self.reused[slot], self.rolled[slot] = held, -1
        self.reach[slot], self.resume[slot] = DRAFT, 0
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

    def longest_prefix(self, prompt: NDArray[np.int64], least: int) -> tuple[int, int]:
        """Return the slot that shares the longest prefix with `prompt`, in its cache or its own prompt, and the
        prefix's number of tokens.

        The number is 0 if no slot shares `least` tokens. The last token never counts, since it must be processed for
        its logits. Among equals a free slot is taken, then one that has prefilled the prefix already.
        """
        if len(prompt) <= least:
            return 0, 0
        held = np.where(self.phase == READING, self.prompt, self.position)
        begins_alike = (self.ids[:, :least] == prompt[:least]).all(1)
        best, found = (0, False, False), 0
        for slot in np.flatnonzero((held >= least) & begins_alike & ~self.is_outdated).tolist():
            length = min(int(held[slot]), len(prompt) - 1)
            differs = self.ids[slot, :length] != prompt[:length]
            common = int(differs.argmax()) if differs.any() else length
            rank = (common, bool(self.phase[slot] == FREE), bool(self.position[slot] >= common))
            if rank > best:
                best, found = rank, slot
        return found, best[0]

    def follow(self, slot: int, leader: int, shared: int) -> None:
        """Let `slot` wait until `leader` has prefilled the first `shared` tokens of its prompt."""
        self.leader[slot], self.shared[slot] = leader, shared

    def lead(self, slots: NDArray[np.int64], held: NDArray[np.int64]) -> None:
        """End waiting for these slots: their caches hold `held` tokens now, and they prefill the rest themselves."""
        self.leader[slots], self.shared[slots] = slots, self.prompt[slots]
        self.position[slots] = self.reused[slots] = held

    def forget(self) -> None:
        """Mark all caches as outdated by new weights: drop those of free slots, and share the others no more."""
        is_free = self.phase == FREE
        self.position[is_free], self.freed[:] = 0, 0
        self.is_outdated[~is_free] = True

    def uniforms(self, slots: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the uniform number of token `at` of each of `slots`, all different."""
        is_missing = self.rolled[slots] != at // AHEAD
        if is_missing.any():
            missing, block = slots[is_missing], at[is_missing] // AHEAD
            indices = block[:, None] * AHEAD + np.arange(AHEAD)
            self.uniform[missing] = uniforms(np.broadcast_to(self.seed[missing, None], indices.shape), indices)
            self.rolled[missing] = block
        return self.uniform[slots, at % AHEAD]

    def record(self, slots: NDArray[np.int64], ids: NDArray[np.int64], logprobs: NDArray[np.float32]) -> None:
        """Record one new token of each of `slots`; the cache holds all before it."""
        count = self.count[slots]
        self.phase[slots] = WRITING
        self.position[slots] = self.prompt[slots] + count
        self.ids[slots, self.prompt[slots] + count] = ids
        self.logprobs[slots, count] = logprobs
        self.last[slots] = ids
        self.count[slots] += 1

    def rules(self, slots: NDArray[np.int64], device: torch.device, *, all_special: bool = False) -> Rules:
        """Build the sampling rules of the rows in `slots` as tensors on `device`.

        With `all_special`, every row is listed as special, because the caller supplies a mask for each; the masks
        themselves are not part of the result.
        """
        return Rules.of(
            self.temperature[slots],
            self.top_k[slots],
            self.top_p[slots],
            self.min_p[slots],
            self.penalty[slots],
            self.is_masked[slots] | all_special,
            device,
        )

    def is_stop(self, slots: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of `ids` ends the request of its slot."""
        return (self.stop_ids[slots] == ids[:, None]).any(1)

    def ids_so_far(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (B, L) prompt and answer of each slot, short rows filled with their first id."""
        lengths = self.prompt[slots] + self.count[slots]
        ids = self.ids[slots, : int(lengths.max())]
        return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, ids[:, :1])

    def written(self, slot: int) -> list[int]:
        """Return the ids of a slot's answer so far."""
        start = int(self.prompt[slot])
        return self.ids[slot, start : start + int(self.count[slot])].tolist()

    def adapt_draft_lengths(
        self, slots: NDArray[np.int64], drafted: NDArray[np.int64], accepted: NDArray[np.int64]
    ) -> None:
        """Lengthen drafts that were fully accepted, shorten the others, and pause drafting after failures."""
        reach = np.where(accepted == drafted, 2 * drafted, np.where(accepted > 0, accepted + 1, drafted // 2))
        self.resume[slots] = np.where(reach > 0, 0, self.count[slots] + PAUSE)
        self.reach[slots] = np.maximum(reach, 1)

    def free(self, slot: int, is_kept: bool) -> None:
        """Free a slot; with `is_kept` its cached tokens stay available as a prefix."""
        self.phase[slot], self.last[slot] = FREE, 0
        self.freed[slot] = self.freed.max() + 1
        if not is_kept or self.is_outdated[slot]:
            self.position[slot] = 0

    def swap(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Exchange the state of slots, pair by pair; none of them may be in prefill."""
        to, of = np.concatenate([some, others]), np.concatenate([others, some])
        for array in vars(self).values():
            array[to] = array[of]

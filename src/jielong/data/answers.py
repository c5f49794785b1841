"""Single answers as training steps, each marked as desirable or not, and answers shuffled between prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.data.batches import PAD_ID, Batch, Sequences, check_length
from jielong.data.steps import Rows
from jielong.errors import DataError
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered, RenderedAnswer


class PaddedAnswers(Rows):
    """Rows of one answer each, with its prompt.

    `extra` has "is_desirable" (bool), "mark" and "weight" (float32), all (N,) for N answers; the weight is 0 where an
    answer is padding. With `reference`, log-probabilities before training in nats, also "ref_logprobs" (N,). No answer
    may be longer than `length`.
    """

    def __init__(
        self,
        answers: Sequence[RenderedAnswer],
        *,
        length: int,
        answers_per_step: int,
        micro_answers: int,
        seed: int,
        reference: Sequence[float] | None = None,
        pad_id: int = PAD_ID,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_length(length)
        longest = max((len(a.answer.ids) for a in answers), default=0)
        if not 0 < longest <= length:
            raise DataError(f"the longest of {len(answers)} answers has {longest} tokens; expected 1 to {length}")
        super().__init__(len(answers), length, answers_per_step, micro_answers, seed, pad_id, rank, world_size)
        self._sequences = Sequences([a.answer for a in answers])
        self._is_desirable = torch.tensor([a.is_desirable for a in answers])
        marks = [float(a.is_desirable) if a.mark is None else a.mark for a in answers]
        self._mark = torch.tensor(marks, dtype=torch.float32)
        self._reference = None if reference is None else torch.tensor(list(reference), dtype=torch.float32)

    def _make(self, epoch: int | None, rows: NDArray[np.int64]) -> Batch:
        return dataclasses.replace(self._sequences.batch(rows, self.length, self.pad_id), extra=self._extra(rows))

    def _extra(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        index = torch.from_numpy(rows)
        extra = {"is_desirable": self._is_desirable[index], "mark": self._mark[index], "weight": torch.ones(len(rows))}
        return extra if self._reference is None else extra | {"ref_logprobs": self._reference[index]}


class PackedAnswers(PaddedAnswers):
    """The same answers in the same steps, packed several to a row; `extra` also has "ends" (N,), see `Batch.ends`."""

    def _filled(self, parts: Sequence[tuple[int | None, NDArray[np.int64]]]) -> Batch:
        rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in parts)])
        batch, ends = self._sequences.packed(rows, self.length, self.pad_id)
        return dataclasses.replace(batch, extra={**self._extra(rows), "ends": torch.from_numpy(ends)})


def answers_to_others(answers: Sequence[RenderedAnswer], seed: int) -> list[RenderedAnswer]:
    """Pair each prompt, in order, with a mismatched answer: that of another prompt, chosen by `seed`.

    If all prompts are equal, an answer may keep its own prompt.
    """
    order = np.random.default_rng(derive_seed(seed, "answers to others")).permutation(len(answers)).tolist()
    parted = [_split_answer(a.answer) for a in answers]
    found: list[RenderedAnswer] = list(answers)
    for place, number in enumerate(order):
        prompt, _ = parted[number]
        following = (order[(place + ahead) % len(order)] for ahead in range(1, len(order) + 1))
        other = next((n for n in following if parted[n][0].ids != prompt.ids), order[(place + 1) % len(order)])
        tail = parted[other][1]
        together = Rendered(prompt.ids + tail.ids, prompt.trained + tail.trained)
        found[number] = RenderedAnswer(together, answers[number].is_desirable)
    return found


def _split_answer(whole: Rendered) -> tuple[Rendered, Rendered]:
    """Split a rendered sequence into the prompt, and the answer from its first trained token on."""
    start = next((i for i, is_trained in enumerate(whole.trained) if is_trained), len(whole.ids))
    return Rendered(whole.ids[:start], whole.trained[:start]), Rendered(whole.ids[start:], whole.trained[start:])

"""Samples of a policy as rows of a batch: cut, padded, split into parts of like length."""
# B rows, T columns. Column t of a stream speaks about the token drawn after column t.

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from jielong.data.batches import Batch, pad_rows
from jielong.records import Sample
from jielong.tokens.chat import Rendered


def cut_after_stop(sample: Sample, stop_ids: Sequence[int]) -> tuple[Sample, bool]:
    """Cut a sample after the first stop id that the model wrote; return it, and whether there is one."""
    by_model = sample.by_model or (True,) * len(sample.ids)
    ends = [i for i, token in enumerate(sample.ids) if token in stop_ids and by_model[i]]
    size = ends[0] + 1 if ends else len(sample.ids)
    cut = dataclasses.replace(
        sample, ids=sample.ids[:size], logprobs=sample.logprobs[:size], by_model=tuple(by_model[:size])
    )
    return cut, bool(ends)


def take_rows(batch: Batch, rows: Tensor) -> Batch:
    """Take some rows of a batch, no wider than the longest of them."""
    width = max(2, int((batch.segments[rows] != 0).sum(dim=1).max()))

    def take(tensor: Tensor) -> Tensor:
        if tensor.dim() == 0:
            return tensor
        return tensor[rows, :width] if tensor.dim() == 2 else tensor[rows]

    tensors = {f.name: take(getattr(batch, f.name)) for f in dataclasses.fields(batch) if f.name != "extra"}
    return Batch(**tensors, extra={name: take(tensor) for name, tensor in batch.extra.items()})


def by_length(batch: Batch, rows: Tensor, micro_rows: int) -> Iterator[Tensor]:
    """Split `rows` into parts of at most `micro_rows`, rows of like length together."""
    sizes = (batch.segments[rows] != 0).sum(dim=1)
    yield from rows[torch.argsort(sizes, stable=True)].split(micro_rows)


def batch_of_samples(samples: Sequence[Sample], pad_id: int) -> Batch:
    """Build a batch of prompt and sample, one a row; trained are the tokens that the model wrote."""
    rows = [Rendered((*s.prompt_ids, *s.ids), (False,) * len(s.prompt_ids) + tuple(s.by_model)) for s in samples]
    return pad_rows(rows, pad_id=pad_id)


def engine_logprobs(batch: Batch, samples: Sequence[Sample], old_logprobs: Tensor) -> Tensor:
    """Place the engine's log-probabilities in the batch; the trainer's own where it gave none."""
    found = old_logprobs.cpu().clone()
    for row, sample in enumerate(samples):
        if sample.logprobs:
            first = len(sample.prompt_ids) - 1
            found[row, first : first + len(sample.ids)] = torch.tensor(sample.logprobs)
    return torch.where(batch.weights != 0, found.to(batch.weights.device), 0.0)

"""Samples of a policy: drawn and judged, and as rows of a batch with the log-probabilities of every model."""
# B rows, T columns. Column t of a stream speaks about the token drawn after column t.

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from jielong.data.batches import Batch, pad_rows
from jielong.records import LocalGenerator, Request, Sample, Sampling, Scorer
from jielong.tokens.chat import Rendered
from jielong.train.advantages import overlong_penalty
from jielong.train.objectives.logprobs import trained_logprobs
from jielong.train.rewards import Judged, Mixture
from jielong.train.roles import Modules
from jielong.train.rollout_settings import RolloutSettings
from jielong.train.sources import Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Drawn:
    """Samples, each cut after its first stop id; whether it has one, and how it was judged."""

    samples: list[Sample]
    has_stop: list[bool]
    judged: Judged

    def with_groups(self, groups: Sequence[int], size: int, other: Drawn) -> Drawn:
        """Return a copy in which the groups at these places are those of `other`, in their order."""
        rows = [group * size + i for group in groups for i in range(size)]

        def mixed(mine: Sequence[T], others: Sequence[T]) -> list[T]:
            new = dict(zip(rows, others, strict=True))
            return [new.get(row, value) for row, value in enumerate(mine)]

        measures = {n: mixed(values, other.judged.measures[n]) for n, values in self.judged.measures.items()}
        judged = Judged(mixed(self.judged.values, other.judged.values), measures)
        return Drawn(mixed(self.samples, other.samples), mixed(self.has_stop, other.has_stop), judged)


LABELS = "score_labels"
"""The measure of a reward named "labels": whoever labelled the reward model's pairs, on samples of the policy."""


def fresh_pairs(judged: Judged, group_size: int) -> list[bool]:
    """Return for neighbouring samples of a prompt whether their scores differ as the labels do, where both differ.

    How often they do is the held-out accuracy of the reward model on samples of the policy as it is now.
    """
    labels = judged.measures.get(LABELS)
    if labels is None:
        return []
    even = group_size - group_size % 2
    starts = range(0, len(labels), group_size)
    lefts = [start + i for start in starts for i in range(0, even, 2)]
    gaps = [(judged.values[i] - judged.values[i + 1], labels[i] - labels[i + 1]) for i in lefts]
    return [(score > 0) == (label > 0) for score, label in gaps if score and label]


def draw(
    prompts: Sequence[Prompt], seeds: Sequence[int], engine: LocalGenerator, scorer: Scorer, sampling: Sampling
) -> Drawn:
    """Draw and judge a sample for each prompt, with the engine's weights as they are."""
    requests = [Request(prompt.ids, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
    cut = [cut_after_stop(sample, sampling.stop_ids) for sample in engine.generate(requests)]
    items = [(p.item, p.conversation, sample) for p, (sample, _) in zip(prompts, cut, strict=True)]
    if isinstance(scorer, Mixture):
        judged = scorer.judge(items)
    else:
        judged = Judged([score.value for score in scorer(items)], {})
    return Drawn([sample for sample, _ in cut], [has_stop for _, has_stop in cut], judged)


def rewards_of(drawn: Drawn, settings: RolloutSettings) -> list[float]:
    """Return each sample's score less the penalties for a missing stop and for its length."""
    return [
        score
        - settings.missing_stop_penalty * (not has_stop)
        + settings.overlong_penalty * overlong_penalty(len(sample.ids), settings.max_tokens, settings.overlong_tokens)
        for score, has_stop, sample in zip(drawn.judged.values, drawn.has_stop, drawn.samples, strict=True)
    ]


@torch.no_grad()
def log_probabilities(
    modules: Modules, batch: Batch, samples: Sequence[Sample], temperature: float, micro_rows: int
) -> dict[str, Tensor]:
    """Return streams (B, T) float32, 0 where nothing is trained: log-probabilities of policy, reference and engine, all
    at the temperature of sampling, and the critic's values.
    """
    streams = {n: torch.zeros_like(batch.weights) for n in ("old_logprobs", "ref_logprobs", "old_values")}
    for rows in by_length(batch, torch.arange(batch.num_rows, device=batch.inputs.device), micro_rows):
        part = take_rows(batch, rows)
        for name, module in (("old_logprobs", "policy"), ("ref_logprobs", "reference")):
            found = torch.zeros_like(part.weights)
            found[part.weights != 0] = trained_logprobs(modules[module], part, temperature)
            streams[name][rows, : part.length] = found
        if "critic" in modules:
            values = modules["critic"](part.inputs, part.positions, part.segments)
            streams["old_values"][rows, : part.length] = torch.where(part.weights != 0, values, 0.0)
    streams["engine_logprobs"] = engine_logprobs(batch, samples, streams["old_logprobs"])
    return streams


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

"""KTO's steps: single answers, and how far the policy has gone from where it began, found anew before every step.

That distance is KTO's z: the mean of log(p/p_ref) over answers that stand after the prompts of others. The paper takes it
from the micro-batch; here it is that of the whole step on all ranks, so how a step is cut changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from jielong.data.answers import PackedAnswers, PaddedAnswers, answers_to_others
from jielong.data.batches import Batch
from jielong.data.steps import held_out
from jielong.errors import DataError
from jielong.tokens.chat import Rendered, RenderedAnswer
from jielong.train.objectives.direct import baseline_of
from jielong.train.objectives.logprobs import sequence_logprobs
from jielong.train.parallel import Ranks
from jielong.train.sources import CHECK_ROWS, Feed, Given, Part, RowsConfig


@dataclass(frozen=True)
class AnswersConfig(RowsConfig):
    """How single answers become steps: `rows_per_step` of them, each a row of at most `length` tokens."""

    def build(self, given: Given) -> Feed:
        """Steps of the material's answers; DataError where they are all desirable or all undesirable."""
        source, notes = self._source("train", given)
        if given.modules is None or given.reference is None:
            return Feed(source, notes=notes)  # asked for whether it can be built
        policy = given.modules["policy"]
        others = self._others("train", given)
        checks: Sequence[Batch] = ()
        try:
            batches = held_out(self._source("held_out", given)[0], CHECK_ROWS * 2)
            beside = held_out(self._others("held_out", given), CHECK_ROWS * 2)
            checks = HeldOutAnswers(batches, beside, policy, given.ranks)
        except DataError as error:
            notes.append(f"the held-out loss is not looked at: {error}")
        return Feed(WithBaseline(source, others, policy, given.ranks), checks, notes)

    def steps(self, epochs: float, given: Given) -> int:
        return self._source("train", given)[0].steps(epochs)

    def _source(self, part: Part, given: Given) -> tuple[PaddedAnswers, list[str]]:
        """The answers of a part that fit into rows, and what a person should know of the others."""
        answers, num_dropped = self._fitting(part, given)
        if part == "train":
            self._check(answers)
        notes = [f"{num_dropped} answers are longer than {self.length} tokens and left out"] if num_dropped else []
        return self._rows_of(answers, part, given), notes

    def _check(self, answers: Sequence[RenderedAnswer]) -> None:
        """DataError where nothing can be learned from answers that are all alike."""
        if len({a.is_desirable for a in answers}) == 1:
            kind = "desirable" if answers[0].is_desirable else "undesirable"
            raise DataError(f"all {len(answers)} answers are {kind}; KTO learns from answers of both kinds")

    def _others(self, part: Part, given: Given) -> PaddedAnswers:
        """Each prompt with the answer to another, in the same order as the answers."""
        answers, _ = self._fitting(part, given)
        cut = [dataclasses.replace(a, answer=_cut(a, self.length)) for a in answers_to_others(answers, given.seed)]
        return self._rows_of(cut, f"{part}-others", given)

    def _fitting(self, part: Part, given: Given) -> tuple[list[RenderedAnswer], int]:
        answers = given.material.answers(part)
        fitting = [a for a in answers if len(a.answer.ids) <= self.length]
        if not fitting:
            raise DataError(f"none of {len(answers)} answers fits into {self.length} tokens; expected at least one")
        return fitting, len(answers) - len(fitting)

    def _rows_of(self, answers: Sequence[RenderedAnswer], name: str, given: Given) -> PaddedAnswers:
        found = given.reference(name, [a.answer for a in answers], self.length) if given.reference else None
        return (PackedAnswers if given.is_packed else PaddedAnswers)(
            answers,
            reference=None if found is None else [cast(float, n) for n in found],
            length=self.length,
            answers_per_step=self.rows_per_step,
            micro_answers=self.micro_rows,
            seed=given.seed,
            rank=given.ranks.rank,
            world_size=given.ranks.size,
        )


@dataclass(frozen=True)
class MarksConfig(AnswersConfig):
    """How marked answers become steps of a reward model: `rows_per_step` of them, each a row of at most `length` tokens."""

    def build(self, given: Given) -> Feed:
        """Steps of the material's answers."""
        source, notes = self._source("train", given)
        checks: Sequence[Batch] = ()
        try:
            checks = held_out(self._source("held_out", given)[0], CHECK_ROWS * 4)
        except DataError as error:
            notes.append(f"the held-out loss is not looked at: {error}")
        return Feed(source, checks, notes)

    def _check(self, answers: Sequence[RenderedAnswer]) -> None:
        if len({a.mark for a in answers}) == 1:
            raise DataError(f"all {len(answers)} answers have one mark; a reward model learns from different ones")


def _cut(answer: RenderedAnswer, length: int) -> Rendered:
    """An answer to another prompt, without what is too long: it is only looked at for how likely it has become."""
    return Rendered(answer.answer.ids[:length], answer.answer.trained[:length])


@torch.no_grad()
def with_baseline(batches: Sequence[Batch], others: Sequence[Batch], policy: nn.Module, ranks: Ranks) -> list[Batch]:
    """The batches with `extra` "baseline": z of `others` under the policy as it is now, one number."""
    device = next(policy.parameters()).device
    total = count = 0.0
    for batch in others:
        logprobs, _ = sequence_logprobs(policy, batch.to(device))
        weight = batch.extra["weight"]
        total += float(((logprobs.cpu() - batch.extra["ref_logprobs"]) * weight).double().sum())
        count += float(weight.sum())
    sums = ranks.sum_numbers({"total": total, "count": count})
    baseline = torch.tensor(baseline_of(sums["total"], sums["count"]))
    return [dataclasses.replace(b, extra={**b.extra, "baseline": baseline}) for b in batches]


class WithBaseline:
    """A source of answers whose batches know the baseline; `others` goes along in the same order."""

    read_ahead = False

    def __init__(self, answers: PaddedAnswers, others: PaddedAnswers, policy: nn.Module, ranks: Ranks) -> None:
        self.answers, self.others, self.policy, self.ranks = answers, others, policy, ranks

    def next_step(self) -> list[Batch]:
        return with_baseline(self.answers.next_step(), self.others.next_step(), self.policy, self.ranks)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Nothing here learns from the training but through the policy."""
        del metrics

    def metrics(self) -> dict[str, float]:
        return {}

    def reseed(self, attempt: int) -> None:
        self.answers.reseed(attempt)
        self.others.reseed(attempt)

    def state_dict(self) -> dict[str, Any]:
        return self.answers.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.answers.load_state_dict(state)
        self.others.load_state_dict(state)


class HeldOutAnswers(Sequence[Batch]):
    """Held-out batches whose baseline is found anew each time that they are gone through."""

    def __init__(self, batches: Sequence[Batch], others: Sequence[Batch], policy: nn.Module, ranks: Ranks) -> None:
        self.batches, self.others, self.policy, self.ranks = batches, others, policy, ranks

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(with_baseline(self.batches, self.others, self.policy, self.ranks))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

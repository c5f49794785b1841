"""KTO's source of steps: single answers, and the policy's KL to its start, estimated anew before every step.

That KL is KTO's z: the mean of log(p/p_ref) over answers paired with the prompts of others. The paper takes it from the
micro-batch; here it is that of the whole step on all ranks, so how a step is cut changes nothing.
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
from jielong.train.sources import CHECK_ROWS, Feed, Part, RowsConfig, SourceContext


@dataclass(frozen=True)
class AnswersConfig(RowsConfig):
    """Settings for steps of single answers: `rows_per_step` of them, each a row of at most `length` tokens."""

    def build(self, context: SourceContext) -> Feed:
        """Build steps of the material's answers; DataError where they are all desirable or all undesirable."""
        source, notes = self._source("train", context)
        if context.modules is None or context.reference is None:
            return Feed(source, notes=notes)  # asked for whether it can be built
        policy = context.modules["policy"]
        others = self._others("train", context)
        checks: Sequence[Batch] = ()
        try:
            batches = held_out(self._source("held_out", context)[0], CHECK_ROWS * 2)
            beside = held_out(self._others("held_out", context), CHECK_ROWS * 2)
            checks = HeldOutAnswers(batches, beside, policy, context.ranks)
        except DataError as error:
            notes.append(f"the held-out loss is not looked at: {error}")
        return Feed(WithBaseline(source, others, policy, context.ranks), checks, notes)

    def steps(self, epochs: float, context: SourceContext) -> int:
        return self._source("train", context)[0].steps(epochs)

    def _source(self, part: Part, context: SourceContext) -> tuple[PaddedAnswers, list[str]]:
        """Build the source of the answers of a part that fit into rows, with notes on the others."""
        answers, num_dropped = self._fitting(part, context)
        if part == "train":
            self._check(answers)
        notes = [f"{num_dropped} answers are longer than {self.length} tokens and left out"] if num_dropped else []
        return self._rows_of(answers, part, context), notes

    def _check(self, answers: Sequence[RenderedAnswer]) -> None:
        """Raise DataError where all answers are desirable or all undesirable."""
        if len({a.is_desirable for a in answers}) == 1:
            kind = "desirable" if answers[0].is_desirable else "undesirable"
            raise DataError(f"all {len(answers)} answers are {kind}; KTO learns from answers of both kinds")

    def _others(self, part: Part, context: SourceContext) -> PaddedAnswers:
        """Build the source of mismatched pairs, each prompt with another's answer, in the same order as the answers."""
        answers, _ = self._fitting(part, context)
        cut = [dataclasses.replace(a, answer=_cut(a, self.length)) for a in answers_to_others(answers, context.seed)]
        return self._rows_of(cut, f"{part}-others", context)

    def _fitting(self, part: Part, context: SourceContext) -> tuple[list[RenderedAnswer], int]:
        """Return the answers of a part that fit into a row, and how many do not; DataError where none does."""
        answers = context.material.answers(part)
        fitting = [a for a in answers if len(a.answer.ids) <= self.length]
        if not fitting:
            raise DataError(f"none of {len(answers)} answers fits into {self.length} tokens; expected at least one")
        return fitting, len(answers) - len(fitting)

    def _rows_of(self, answers: Sequence[RenderedAnswer], name: str, context: SourceContext) -> PaddedAnswers:
        """Build the source of these answers, with their reference log-probabilities where the objective needs them."""
        found = context.reference(name, [a.answer for a in answers], self.length) if context.reference else None
        return (PackedAnswers if context.is_packed else PaddedAnswers)(
            answers,
            reference=None if found is None else [cast(float, n) for n in found],
            length=self.length,
            answers_per_step=self.rows_per_step,
            micro_answers=self.micro_rows,
            seed=context.seed,
            rank=context.ranks.rank,
            world_size=context.ranks.size,
        )


@dataclass(frozen=True)
class MarksConfig(AnswersConfig):
    """Settings for steps of a reward model on marked answers: `rows_per_step` of them, each a row of at most `length` tokens."""

    def build(self, context: SourceContext) -> Feed:
        """Build steps of the material's answers."""
        source, notes = self._source("train", context)
        checks: Sequence[Batch] = ()
        try:
            checks = held_out(self._source("held_out", context)[0], CHECK_ROWS * 4)
        except DataError as error:
            notes.append(f"the held-out loss is not looked at: {error}")
        return Feed(source, checks, notes)

    def _check(self, answers: Sequence[RenderedAnswer]) -> None:
        if len({a.mark for a in answers}) == 1:
            raise DataError(f"all {len(answers)} answers have one mark; a reward model learns from different ones")


def _cut(answer: RenderedAnswer, length: int) -> Rendered:
    """Cut an answer to another prompt to `length`: only its log-probability matters."""
    return Rendered(answer.answer.ids[:length], answer.answer.trained[:length])


@torch.no_grad()
def with_baseline(batches: Sequence[Batch], others: Sequence[Batch], policy: nn.Module, ranks: Ranks) -> list[Batch]:
    """Add "baseline" to the `extra` of batches: z of `others` under the present policy, one number."""
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
    """A source of answers that adds the baseline to its batches; `others` advances in the same order."""

    read_ahead = False

    def __init__(self, answers: PaddedAnswers, others: PaddedAnswers, policy: nn.Module, ranks: Ranks) -> None:
        self.answers, self.others, self.policy, self.ranks = answers, others, policy, ranks

    def next_step(self) -> list[Batch]:
        return with_baseline(self.answers.next_step(), self.others.next_step(), self.policy, self.ranks)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Ignore metrics: nothing here learns from the training but through the policy."""
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
    """Held-out batches whose baseline is computed anew each time that they are iterated."""

    def __init__(self, batches: Sequence[Batch], others: Sequence[Batch], policy: nn.Module, ranks: Ranks) -> None:
        self.batches, self.others, self.policy, self.ranks = batches, others, policy, ranks

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(with_baseline(self.batches, self.others, self.policy, self.ranks))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

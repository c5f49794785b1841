"""One loop for every search: a method proposes instructions, the training questions score them, the test questions judge."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jielong.errors import ConfigError, DataError
from jielong.records import Conversation, Message, to_dict
from jielong.runs import derive_seed
from jielong.use.answers import is_same
from jielong.use.examples import Example
from jielong.use.ledger import Ledger
from jielong.use.port import Answer, Ask, Options, Usage
from jielong.use.strategy import together

Judge = Callable[[str, str], float]
"""How right an answer's text is, in [0, 1], given the right answer."""


@dataclass(frozen=True)
class Task:
    """Questions to search with, and others to test with."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    judge: Judge = is_same


def split(examples: Sequence[Example], num_train: int, seed: int, judge: Judge = is_same) -> Task:
    """Make a task of these examples, shuffled, the first `num_train` for training. Raises DataError if none is left for
    the test.
    """
    if not 1 <= num_train < len(examples):
        raise DataError(f"of {len(examples)} examples {num_train} cannot be trained on and others kept for the test")
    order = list(examples)
    random.Random(derive_seed(seed, "spell", "split")).shuffle(order)
    return Task(tuple(order[:num_train]), tuple(order[num_train:]), judge)


@dataclass(frozen=True)
class ScoredInstruction:
    """One scoring: an instruction, and the score of the answer to each training question with it."""

    instruction: str
    scores: tuple[float, ...]

    @property
    def value(self) -> float:
        return sum(self.scores) / len(self.scores)


class Method(Protocol):
    """The protocol of a search method. It sees all trials so far, in order; the first one is that of no instruction."""

    @property
    def name(self) -> str: ...
    async def propose(self, trials: Sequence[ScoredInstruction], ask: Ask, options: Options) -> list[str]: ...


@dataclass(frozen=True)
class Search:
    """The record of a search: every trial in order, and the scores of the test questions with the best one and without.

    `asked` is the cost of scoring and testing, `proposed` that of the proposals.
    """

    method: str
    seed: int
    trials: tuple[ScoredInstruction, ...]
    test: tuple[float, ...]
    plain_test: tuple[float, ...]
    asked: Usage
    proposed: Usage

    @property
    def best(self) -> ScoredInstruction:
        return best(self.trials)

    def to_dict(self) -> dict[str, Any]:
        return {**to_dict(self), "instruction": self.best.instruction}


def best(trials: Sequence[ScoredInstruction]) -> ScoredInstruction:
    """Return the trial of the highest value; of several, the one that came first."""
    return max(trials, key=lambda trial: trial.value)


def spelled(instruction: str, question: str) -> str:
    """Return the question with the instruction before it."""
    return f"{instruction}\n\n{question}" if instruction else question


async def search(
    task: Task,
    method: Method,
    ask: Ask,
    scorings: int,
    options: Options,
    *,
    proposer: Ask | None = None,
    on_trial: Callable[[int, ScoredInstruction], None] | None = None,
) -> Search:
    """Score `scorings` instructions with `ask`, no instruction being the first, and test the best of them.

    `proposer` is the model that a method asks for ideas, by default the same one. An instruction that is proposed again
    is not asked about again, but counts: a method that repeats itself has wasted a scoring. Raises ConfigError for less
    than two.
    """
    if scorings < 2:
        raise ConfigError(
            f"{scorings} scorings are no search; the first is of no instruction, so at least 2 are needed"
        )
    asking, proposing = Ledger(ask), Ledger(proposer or ask)

    async def scores(instruction: str, examples: Sequence[Example]) -> tuple[float, ...]:
        """Score an instruction on each example."""

        async def answered(example: Example) -> Answer:
            question = Message("user", spelled(instruction, example.question))
            return await asking.ask(Conversation((question,)), options.draw("score", example.question))

        answers = await together(map(answered, examples))
        return tuple(float(task.judge(a.text, e.answer)) for a, e in zip(answers, examples, strict=True))

    trials: list[ScoredInstruction] = []
    known: dict[str, tuple[float, ...]] = {}
    proposals = [""]
    while len(trials) < scorings:
        for instruction in proposals[: scorings - len(trials)]:
            if instruction not in known:
                known[instruction] = await scores(instruction, task.train)
            trials.append(ScoredInstruction(instruction, known[instruction]))
            if on_trial:
                on_trial(len(trials), trials[-1])
        if len(trials) < scorings:
            proposals = await method.propose(trials, proposing.ask, options.draw("propose", len(trials)))
            assert proposals, "a method proposes something"
    test = await scores(best(trials).instruction, task.test)
    plain = test if not best(trials).instruction else await scores("", task.test)
    return Search(method.name, options.seed, tuple(trials), test, plain, asking.usage, proposing.usage)

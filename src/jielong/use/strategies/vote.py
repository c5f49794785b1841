"""Majority vote over several samples (self-consistency, Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jielong.config import at_least
from jielong.errors import JielongError
from jielong.records import Conversation
from jielong.use.answers import final, groups
from jielong.use.ledger import BudgetSpent, keep, note
from jielong.use.port import Answer, Ask, Options
from jielong.use.strategy import Strategy, as_far_as_it_goes


@dataclass(frozen=True)
class Vote(Strategy):
    """The most frequent answer of `n` samples, grouped by `answers.groups`; of a tie, the first.

    Samples are drawn at `temperature`: greedy ones would all be the same. The result is the whole text of the first
    sample with the winning answer.
    """

    n: int = 9
    temperature: float = 0.7

    def __post_init__(self) -> None:
        at_least(self, 1, "n")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        answers = await draw_answers(self.n, conversation, ask, options, "vote", self.temperature)
        return majority_answer(answers)


def majority_answer(answers: Sequence[Answer]) -> Answer:
    """Return the first answer of the largest group of equal answers."""
    answers = [a for a in answers if final(a.text)] or answers  # who says nothing does not vote
    firsts = groups([a.text for a in answers])
    first, most = Counter(firsts).most_common(1)[0]
    winner = answers[first]
    note(f"{most} of {len(answers)} say {final(winner.text)!r}")
    return winner


async def draw_answers(
    n: int, conversation: Conversation, ask: Ask, options: Options, purpose: str, temperature: float
) -> Sequence[Answer]:
    """Sample `n` answers concurrently, in order. If the budget ends early, return the finished ones, at least one."""

    async def one(number: int) -> Answer:
        """Draw one answer with a seed of its own."""
        drawn = options.draw(purpose, number, temperature=temperature, label=f"{purpose} {number + 1}")
        answer = await ask(conversation, drawn)
        keep(answer)
        return answer

    answers, problems = await as_far_as_it_goes(one(number) for number in range(n))
    errors = [problem for problem in problems if not isinstance(problem, BudgetSpent)]
    if not answers or any(not isinstance(error, JielongError) for error in errors):
        raise (errors or problems)[0]
    if errors:
        note(f"{len(answers)} of {n} came, and then: {errors[0]}")
    return answers

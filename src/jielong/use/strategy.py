"""The strategy protocol: how one stands over another, and how one is run within a budget.

A strategy takes a conversation and a model to ask, asks as often as it likes, and gives one answer. In place of the
model may stand the next strategy: it cannot tell, and so strategies compose.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jielong.errors import ConfigError
from jielong.records import Conversation, Message
from jielong.use.ledger import Budget, BudgetSpent, Call, Happening, Ledger, current, depth
from jielong.use.port import Answer, Ask, Options, Usage

T = TypeVar("T")

FEW_AT_A_TIME = 4
AT_A_TIME = 256
"""Most calls of one strategy that wait at the same time. The engine and servers have lower bounds of their own."""
MOST_UNBOUNDED = 100_000
"""The largest count that a strategy may have where no budget ends it."""


@dataclass(frozen=True)
class Outcome:
    """The result of a strategy: the answer, every call in order of their beginning, and the cost of all."""

    answer: Answer
    calls: tuple[Call, ...]
    usage: Usage
    seconds: float
    """Of the clock; `usage.seconds` adds up calls that ran at the same time."""
    is_stopped: bool = False
    """Whether the budget ended it."""


class Strategy:
    """A way to get more out of a model: it asks as often as it likes and gives one answer.

    Subclasses are frozen dataclasses whose fields are the strategy's options. `ask` is the model, or the next strategy.
    """

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        raise NotImplementedError


def over(strategy: Strategy, ask: Ask) -> Ask:
    """Put the strategy in front of `ask`: each of the strategy's calls goes to `ask`."""
    return _Over(strategy, ask)


@dataclass(frozen=True)
class _Over:
    """A strategy over the model or the next strategy, as an `Ask`."""

    strategy: Strategy
    ask: Ask

    async def __call__(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        token = depth.set(depth.get() + 1)
        try:
            return await self.strategy(conversation, self.ask, options)
        finally:
            depth.reset(token)


def model_under(ask: Ask) -> Ask:
    """Return the model at the end of a chain of strategies.

    A strategy asks the next one for the parts of its answer, and the model itself for its own work: a vote or a check
    would not fit a list of sub-questions.
    """
    while isinstance(ask, _Over):
        ask = ask.ask
    return ask


async def together(asks: Iterable[Awaitable[T]]) -> list[T]:
    """Return all results in order, asked for at the same time.

    If one fails, the others are waited for and then it is raised, an error before a spent budget: no call goes on
    behind a strategy that is over.
    """
    results, problems = await as_far_as_it_goes(asks)
    if problems:
        raise next((p for p in problems if not isinstance(p, BudgetSpent)), problems[0])
    return results


async def as_far_as_it_goes(asks: Iterable[Awaitable[T]]) -> tuple[list[T], list[Exception]]:
    """Return the results in order, and the errors, of the asks that the budget allowed.

    `asks` are taken one by one, at the same time as many as the budget lets begin and at most `AT_A_TIME`, and none
    after an error. So a count of any size costs what the budget has, in time and in memory.
    """
    ledger = current.get()
    width = max(1, min(AT_A_TIME, ledger.calls_left if ledger else AT_A_TIME))
    if ledger and ledger.budget.tokens:
        width = min(width, FEW_AT_A_TIME)  # they do not know of each other's tokens
    rest = enumerate(asks)
    results: dict[int, T] = {}
    problems: list[Exception] = []

    async def work(number: int, ask: Awaitable[T]) -> None:
        """Await one ask after another until none is left or an error came."""
        while True:
            try:
                results[number] = await ask
            except Exception as error:
                problems.append(error)
            await asyncio.sleep(0)  # the first ones begin before any following one, so that they are asked in order
            if problems or (following := next(rest, None)) is None:
                return
            number, ask = following

    await asyncio.gather(*(work(number, ask) for number, ask in itertools.islice(rest, int(width))))
    return [results[number] for number in sorted(results)], problems


async def run(
    strategy: Strategy,
    conversation: Conversation,
    ask: Ask,
    options: Options | None = None,
    *,
    budget: Budget | None = None,
    on_happening: Callable[[Happening], None] | None = None,
) -> Outcome:
    """Answer with the strategy, within the budget.

    Raises ConfigError for a count above `MOST_UNBOUNDED` if no budget would end it. If the budget ends it, the answer
    is the one that the strategy kept, or else the last one that any call gave; its `stop` is "budget". Raises
    BudgetSpent if there is none at all.
    """
    bounded = budget or Budget()
    if not (0 < bounded.calls <= MOST_UNBOUNDED or bounded.tokens or bounded.seconds):
        _check_counts(strategy)
    ledger = Ledger(ask, budget, on_happening)
    token = current.set(ledger)
    is_stopped = False
    try:
        answer = await over(strategy, ledger.ask)(conversation, options or Options())
    except BudgetSpent:
        last = ledger.kept or (ledger.calls[-1].answer if ledger.calls else None)
        if last is None:
            raise
        answer, is_stopped = replace(last, stop="budget"), True
    finally:
        current.reset(token)
    is_stopped = is_stopped or ledger.is_spent
    return Outcome(replace(answer, usage=ledger.usage), ledger.calls, ledger.usage, ledger.seconds, is_stopped)


def _check_counts(strategy: Any) -> None:
    """Raise ConfigError if a strategy, or one that it holds, would ask more often than anybody waits for."""
    if isinstance(strategy, tuple):
        for one in strategy:
            _check_counts(one)
    if not isinstance(strategy, Strategy) or not dataclasses.is_dataclass(strategy):
        return
    for name in (field.name for field in dataclasses.fields(strategy)):
        value = getattr(strategy, name)
        if type(value) is int and value > MOST_UNBOUNDED:
            raise ConfigError(
                f"{name} of {type(strategy).__name__} is {value:,}; without a budget (jielong ask has --budget-calls) it "
                f"may be at most {MOST_UNBOUNDED:,}"
            )
        _check_counts(value)


def question_of(conversation: Conversation) -> str:
    """Return the text of the last user turn. Raises ConfigError if there is none."""
    for message in reversed(conversation.messages):
        if message.role == "user":
            return message.text
    raise ConfigError("the conversation has no user turn; a strategy needs a question")


def replace_question(conversation: Conversation, text: str) -> Conversation:
    """Return the conversation with another text in its last user turn."""
    at = max((i for i, m in enumerate(conversation.messages) if m.role == "user"), default=-1)
    if at < 0:
        raise ConfigError("the conversation has no user turn; a strategy needs a question")
    messages = list(conversation.messages[: at + 1])
    messages[at] = Message("user", text)
    return replace(conversation, messages=tuple(messages))


def follow_up(conversation: Conversation, answer: Answer, then: str) -> Conversation:
    """Return the conversation with the answer to it, and the user's next turn."""
    return replace(conversation, messages=(*conversation.messages, answer.message, Message("user", then)))

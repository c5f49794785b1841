"""The ledger of a strategy's calls: recorded, shown while they happen, and stopped when the budget is spent.

A `Ledger` stands between a strategy and the model. Every call passes through it and leaves its conversation, its answer
and its cost; before each call the budget is checked. Strategies report their progress with `note` and put their best
answer so far aside with `keep`, so that one that is stopped still has something to give.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from jielong.errors import ConfigError, ResourceError
from jielong.records import Conversation, to_dict
from jielong.use.port import Answer, Ask, Options, Usage
from jielong.use.tools.spoken import Spoken
from jielong.use.tools.tool import by_name


class BudgetSpent(ResourceError):
    """Raised if the next call would go beyond the budget."""


@dataclass(frozen=True)
class Budget:
    """Hard limits of one question; 0 is no limit.

    They are looked at before every call, and no call may write more tokens than are left. Calls under way at the same
    time do not know of each other's tokens: with `tokens`, they can together go beyond it.
    """

    calls: int = 0
    tokens: int = 0
    """Read and written together."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"budget {name} is {getattr(self, name)}; it must be 0 (no limit) or more")


@dataclass(frozen=True)
class Happening:
    """An event to show: a call "begins", a piece of "text", a call "ends", or a "note" of the strategy or a tool."""

    kind: str
    text: str
    call: int = 0
    """The number of the call it belongs to; 0 for a note."""
    depth: int = 0
    """How many strategies deep."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What a note is about, for programs that show it in their own way: a "tool" that was called, a "passage" that was found."""


@dataclass(frozen=True)
class Call:
    """One question to the model and its answer."""

    number: int
    label: str
    depth: int
    conversation: Conversation
    options: Options
    answer: Answer

    def to_dict(self) -> dict[str, Any]:
        """Return everything that was said, and its cost, for a trace."""
        return {
            "number": self.number,
            "label": self.label,
            "depth": self.depth,
            "messages": to_dict(self.conversation.messages),
            "answer": to_dict(self.answer.message),
            "stop": self.answer.stop,
            "seed": self.options.seed,
            "sampling": to_dict(self.options.sampling),
            "usage": to_dict(self.answer.usage),
        }


current: ContextVar[Ledger | None] = ContextVar("ledger", default=None)
"""The ledger of the question that is being worked on."""

depth: ContextVar[int] = ContextVar("depth", default=0)
"""How many strategies deep this is."""


def note(text: str, **data: Any) -> None:
    """Show a progress note, about `data`; nothing if nobody watches."""
    ledger = current.get()
    if ledger is not None:
        ledger.happen(Happening("note", text, depth=depth.get(), data=data))


def keep(answer: Answer) -> None:
    """Put the best answer so far aside, for the case that the budget ends the work. The outermost strategy's counts."""
    ledger = current.get()
    if ledger is not None and depth.get() <= ledger.kept_depth:
        ledger.kept, ledger.kept_depth = answer, depth.get()


def recorded(ask: Ask) -> Ask:
    """Wrap another model so that its calls count in the present question's ledger."""

    async def asked(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        ledger = current.get()
        return await (ledger.ask_other(ask, conversation, options) if ledger else ask(conversation, options))

    return asked


class Ledger:
    """Asks through `ask`, records every call, and refuses those beyond the budget."""

    def __init__(
        self, ask: Ask, budget: Budget | None = None, on_happening: Callable[[Happening], None] | None = None
    ) -> None:
        self._ask, self.budget, self._on_happening = ask, budget or Budget(), on_happening
        self._start_s = time.monotonic()
        self._num_begun = 0
        self._calls: dict[int, Call] = {}
        self.usage = Usage()
        self.is_spent = False
        """Whether a call was refused or ended because the budget was spent."""
        self.kept: Answer | None = None
        self.kept_depth = 1 << 30

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._calls[n] for n in sorted(self._calls))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start_s

    @property
    def calls_left(self) -> float:
        """Return how many more calls the budget allows; infinity if it does not count them."""
        return max(0, self.budget.calls - self._num_begun) if self.budget.calls else math.inf

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the budget is spent; infinite if it has none."""
        return max(0.0, self.budget.seconds - self.seconds) if self.budget.seconds else math.inf

    def happen(self, happening: Happening) -> None:
        if self._on_happening:
            self._on_happening(happening)

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        """Ask the model. Raises BudgetSpent if the budget does not allow it."""
        return await self.ask_other(self._ask, conversation, options)

    async def ask_other(self, ask: Ask, conversation: Conversation, options: Options) -> Answer:
        """Ask another model within the same budget."""
        options = self._within_budget(options)
        self._num_begun += 1
        number, deep = self._num_begun, depth.get()
        self.happen(Happening("begins", options.label, number, deep))
        on_text = options.on_text

        def show(piece: str) -> None:
            self.happen(Happening("text", piece, number, deep))
            if on_text:
                on_text(piece)

        shown = Spoken(by_name(options.called), show)
        watched = replace(options, on_text=shown.push) if self._on_happening or on_text else options
        if self.budget.seconds:
            left_s = max(0.0, self.budget.seconds - self.seconds)
            try:
                answer = await asyncio.wait_for(ask(conversation, watched), left_s)
            except TimeoutError:
                self.is_spent = True
                raise BudgetSpent(f"the budget of {self.budget.seconds:g} seconds is spent") from None
        else:
            answer = await ask(conversation, watched)
        shown.finish()
        self.usage += answer.usage
        self._calls[number] = Call(number, options.label, deep, conversation, options, answer)
        self.happen(Happening("ends", answer.text, number, deep))
        return answer

    def _within_budget(self, options: Options) -> Options:
        """Return the options with max_tokens lowered to the tokens left. Raises BudgetSpent if the calls, tokens or
        seconds of the budget are used up.
        """
        budget = self.budget
        spent: Mapping[str, float] = {
            "calls": self._num_begun,
            "tokens": self.usage.tokens,
            "seconds": self.seconds,
        }
        for name, value in spent.items():
            limit = getattr(budget, name)
            if limit and value >= limit:
                self.is_spent = True
                raise BudgetSpent(f"the budget of {limit:g} {name} is spent")
        if budget.tokens:
            left = budget.tokens - self.usage.tokens
            if left < options.sampling.max_tokens:
                options = replace(options, sampling=replace(options.sampling, max_tokens=left))
        return options

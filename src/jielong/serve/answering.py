"""One answer of a model, or of a strategy over it: the way that OpenAI's clients and the page both take."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jielong.errors import ConfigError, TooLongError
from jielong.opening.strategies import strategy_of
from jielong.opening.tools import Equipment
from jielong.records import Conversation
from jielong.serve.models import Model
from jielong.use.ledger import Budget, Happening
from jielong.use.port import LocalPort, Options
from jielong.use.strategies import STRATEGIES, Direct, named
from jielong.use.strategy import Outcome, Strategy, run

MOST_CALLS = 200
"""Calls of one strategy for one answer: a name such as `m+vote:1000000` must not keep the machine for days."""


@dataclass(frozen=True)
class Handed:
    """The library, the tools and the person who approves of changes: opened once for all models of a server."""

    given: Mapping[str, Any]


def parted_name(name: str) -> tuple[str, str]:
    """A model's name and the strategy after the first "+" that a strategy's name follows: "m+vote:5"."""
    for at in (i for i, letter in enumerate(name) if letter == "+"):
        if name[at + 1 :].partition(":")[0].partition("+")[0] in STRATEGIES:
            return name[:at], name[at + 1 :]
    return name, ""


def open_strategy(spec: str, model: Model, handed: Handed, *, is_person_there: bool) -> Strategy:
    """The strategy `spec`, "" for asking once. Tools that change something are left out where no person can approve of them.

    ConfigError where it is unknown, or needs what was not handed.
    """
    if not spec:
        return Direct()
    given = dict(handed.given)
    if not is_person_there:
        given["tools"] = tuple(tool for tool in given.get("tools", ()) if not tool.changes)
        given.pop("approve", None)
    if not given.get("tools"):
        given.pop("tools", None)
    if "library" in given:
        given["reading"] = model.reading
    names = {part.strip().partition(":")[0] for part in spec.split("+")}
    if "tools" in names and "tools" not in given:
        raise ConfigError("no tools were handed to this server; start it with --tools")
    if "library" in names and "library" not in given:
        raise ConfigError("no library was handed to this server; start it with --library")
    return named(strategy_of(spec, Equipment()), given)


async def answer(
    model: Model,
    strategy: Strategy,
    conversation: Conversation,
    options: Options,
    on_happening: Callable[[Happening], None] | None = None,
) -> Outcome:
    """The answer and what it cost. The model must be in memory."""
    assert model.port is not None
    return await run(
        strategy, conversation, model.port.ask, options, budget=Budget(calls=MOST_CALLS), on_happening=on_happening
    )


def room_for_answer(model: Model, prompt_ids: tuple[int, ...]) -> int:
    """Tokens that an answer after this prompt may have; TooLongError with both lengths where there is no room for one."""
    assert isinstance(model.port, LocalPort)
    length = model.port.engine.length
    if len(prompt_ids) >= length:
        raise TooLongError(
            f"this model's maximum context length is {length} tokens, and the prompt has {len(prompt_ids)}; shorten it"
        )
    return length - len(prompt_ids)


def fresh_seed() -> int:
    """A seed of chance, as large as JavaScript's numbers are exact."""
    return secrets.randbits(53)

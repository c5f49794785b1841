"""Answers from a model, or from a strategy over it, for OpenAI's clients and for the page."""

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
class ServerResources:
    """The library, the tools, and the callback that asks a person to approve changes; opened once for all models."""

    given: Mapping[str, Any]


def split_name(name: str) -> tuple[str, str]:
    """Split "MODEL+STRATEGY", such as "m+vote:5", at the first "+" before a strategy's name."""
    for at in (i for i, letter in enumerate(name) if letter == "+"):
        if name[at + 1 :].partition(":")[0].partition("+")[0] in STRATEGIES:
            return name[:at], name[at + 1 :]
    return name, ""


def open_strategy(spec: str, model: Model, resources: ServerResources, *, is_person_there: bool) -> Strategy:
    """Build the strategy `spec`, "" for asking once. Tools that change something are left out if no person can approve.

    Raises ConfigError for an unknown strategy, or for a resource that the server lacks.
    """
    if not spec:
        return Direct()
    given = dict(resources.given)
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
    """Answer with the strategy; return the answer and its cost. The model must be in memory."""
    assert model.port is not None
    return await run(
        strategy, conversation, model.port.ask, options, budget=Budget(calls=MOST_CALLS), on_happening=on_happening
    )


def room_for_answer(model: Model, prompt_ids: tuple[int, ...]) -> int:
    """Return the maximum tokens of an answer to this prompt. Raises TooLongError with both lengths if there is no room
    for one.
    """
    assert isinstance(model.port, LocalPort)
    length = model.port.engine.length
    if len(prompt_ids) >= length:
        raise TooLongError(
            f"this model's maximum context length is {length} tokens, and the prompt has {len(prompt_ids)}; shorten it"
        )
    return length - len(prompt_ids)


def fresh_seed() -> int:
    """Draw a random seed that JavaScript's numbers represent exactly."""
    return secrets.randbits(53)

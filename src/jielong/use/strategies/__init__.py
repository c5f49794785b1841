"""Prompting strategies after published papers, each with a known cost; they compose.

`named("decompose+vote:n=5+check")` reads like a sentence: decompose the question, put each part to a vote of five, and
have each vote checked. The strategy on the left asks the one to its right; the last one asks the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jielong.config import set_field
from jielong.errors import ConfigError, did_you_mean
from jielong.records import Conversation
from jielong.use.agents.planner import Plan
from jielong.use.port import Answer, Ask, Options
from jielong.use.strategies.debate import Debate, Discuss
from jielong.use.strategies.decompose import Decompose
from jielong.use.strategies.judged import BestOf, Cascade, Check
from jielong.use.strategies.library import FromLibrary
from jielong.use.strategies.prompts import Context, Explain, FewShot, Spell, Think
from jielong.use.strategies.revise import Constitution, Reflect
from jielong.use.strategies.roles import Dera, Team
from jielong.use.strategies.story import Story
from jielong.use.strategies.tree import Tree
from jielong.use.strategies.vote import Vote
from jielong.use.strategy import Strategy, over
from jielong.use.tools.loop import Tools


@dataclass(frozen=True)
class Direct(Strategy):
    """Ask once."""

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        return await ask(conversation, options)


@dataclass(frozen=True)
class Chain(Strategy):
    """Several strategies, each asking the next."""

    strategies: tuple[Strategy, ...]

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        for strategy in reversed(self.strategies[1:]):
            ask = over(strategy, ask)
        return await self.strategies[0](conversation, ask, options)


STRATEGIES: dict[str, type[Strategy]] = {
    "best-of": BestOf,
    "cascade": Cascade,
    "check": Check,
    "constitution": Constitution,
    "context": Context,
    "debate": Debate,
    "decompose": Decompose,
    "dera": Dera,
    "direct": Direct,
    "discuss": Discuss,
    "explain": Explain,
    "few-shot": FewShot,
    "library": FromLibrary,
    "plan": Plan,
    "reflect": Reflect,
    "spell": Spell,
    "story": Story,
    "team": Team,
    "think": Think,
    "tools": Tools,
    "tree": Tree,
    "vote": Vote,
}


def samples_calls(strategy: Strategy) -> bool:
    """Whether a strategy makes some of its calls above temperature 0, at any temperature of the caller."""
    parts = strategy.strategies if isinstance(strategy, Chain) else (strategy,)
    return any(getattr(part, "temperature", 0.0) > 0 for part in parts)


def named(spec: str, resources: Mapping[str, Any] | None = None) -> Strategy:
    """Build the strategy that `spec` names: NAME or NAME:FIELD=VALUE,FIELD=VALUE, several joined by +.

    A value alone sets the strategy's first field: vote:5, spell:tip. `resources` holds objects that a command line
    cannot express, such as a scorer or a library: each strategy takes its fields of these names. Raises ConfigError for
    unknown names, with the nearest one that exists, and for a missing field.
    """
    parts = [_build_strategy(part.strip(), resources or {}) for part in spec.split("+")]
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _build_strategy(spec: str, resources: Mapping[str, Any]) -> Strategy:
    """Build one strategy of the chain. Raises ConfigError if its name or a needed resource is missing."""
    name, _, settings = spec.partition(":")
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}; {did_you_mean(name, STRATEGIES)}")
    cls = STRATEGIES[name]
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {key: value for key, value in resources.items() if key in fields}
    missing = [
        f.name
        for f in fields.values()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"strategy {name} needs {', '.join(missing)} (on the command line: --{missing[0]})")
    strategy = cls(**values)
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        strategy = set_field(strategy, key, value) if equals else set_field(strategy, next(iter(fields)), setting)
    return strategy

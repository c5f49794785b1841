"""What techniques gain on a task: over asking once, and over a plain vote of as many samples as cost the same tokens.

A search for spells (`use.spells`) is a technique too: it tries instructions on other questions of the task and answers with
the best one, and what the search cost is part of its cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.strategies.asking import answer_all, cost
from bench.strategies.line import Cost, Line, Wanted, shares
from bench.strategies.setting import Part, Setting
from jielong.errors import ConfigError
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed
from jielong.use.answers import is_same
from jielong.use.examples import Example
from jielong.use.port import Options
from jielong.use.prompting import language_of
from jielong.use.spells import search as spells
from jielong.use.strategies import named
from jielong.use.strategies.vote import majority_answer
from jielong.use.strategy import Outcome, Strategy, over

DRAWS, QUICK_DRAWS = 24, 4
"""Samples for the votes of equal tokens; what costs more is compared to the vote of all of them."""
SCORINGS, QUICK_SCORINGS = 41, 3
"""Instructions that a search tries, none among them: five steps of eight proposals."""


def _gives_answer(text: str, asked: Example) -> bool:
    return is_same(text, asked.answer)


@dataclass(frozen=True)
class Task:
    """Questions, and what every technique is put before: `base` is a strategy, such as few-shot."""

    questions: tuple[Example, ...]
    base: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 48
    is_right: Callable[[str, Example], bool] = _gives_answer
    train: tuple[Example, ...] = ()
    """Other questions, for searches."""

    def strategy(self, spec: str = "", given: Mapping[str, Any] | None = None) -> Strategy:
        """The technique before the task's base."""
        chain = [one for one in (spec, self.base) if one]
        return named("+".join(chain) or "direct", {**self.given, **(given or {})})

    def rights(self, made: Sequence[Outcome]) -> tuple[float, ...]:
        return shares(self.is_right(o.answer.text, q) for o, q in zip(made, self.questions, strict=True))

    def options(self, seed: int) -> Options:
        return Options(Sampling(max_tokens=self.max_tokens, temperature=0.0), seed)


@dataclass(frozen=True)
class Technique:
    """A strategy by its name, or a search for spells, of training questions and their language."""

    spec: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    method: Callable[[tuple[Example, ...], str], spells.Method] | None = None
    needs_large: bool = False


async def gains(at: Setting, task: Task, techniques: Mapping[str, Technique], place: str = "") -> list[Part]:
    """Asking once, then every technique; `place` goes before the names where an experiment has several tasks."""
    for name, technique in techniques.items():
        if technique.needs_large and not at.large:
            raise ConfigError(f"technique {name} asks a second model where the first is unsure; give it with --large")
    # what is kept of a cascade is of this large model
    techniques = {
        f"{name} to {Path(at.large).name}" if technique.needs_large else name: technique
        for name, technique in techniques.items()
    }
    once = await at.part(f"{place}once", partial(_once, at, task, f"{place}once"))
    votes = await at.part(f"{place}votes of equal tokens", partial(_votes, at, task))
    return [
        once,
        *[
            await at.part(f"{place}{name}", partial(_gain, at, task, f"{place}{name}", technique, once, votes))
            for name, technique in techniques.items()
        ],
    ]


async def _answers(
    at: Setting, task: Task, strategy: Strategy, seed: int, instruction: str = ""
) -> tuple[list[Outcome], Cost]:
    def said(question: Example) -> Conversation:
        text = spells.spelled(instruction, question.question)
        return Conversation((Message("user", text),), {"item": question.answer})

    return await answer_all([(strategy, said(q)) for q in task.questions], at.port.ask, task.options(seed))


async def _once(at: Setting, task: Task, name: str) -> list[Line]:
    made, spent = await _answers(at, task, task.strategy(), at.seed)
    return [Line(name, task.rights(made), cost=spent)]


async def _votes(at: Setting, task: Task) -> list[Line]:
    """A vote of the first n of the same samples, for every n."""
    draws = QUICK_DRAWS if at.is_quick else DRAWS
    made, spent = await _answers(at, task, task.strategy(f"vote:{draws}"), derive_seed(at.seed, "equal"))

    def vote(n: int) -> Line:
        winners = [replace(o, answer=majority_answer([call.answer for call in o.calls[:n]])) for o in made]
        share = n / draws
        return Line(f"vote of {n}", task.rights(winners), cost=Cost(n, spent.tokens * share, spent.seconds * share))

    return [vote(n) for n in range(1, draws + 1)]


async def _gain(at: Setting, task: Task, name: str, technique: Technique, once: Part, votes: Part) -> list[Line]:
    given = dict(technique.given)
    if technique.needs_large:
        given["large"] = at.ports.to(at.large).ask
    instruction, searched = await _searched(at, task, technique)
    made, spent = await _answers(at, task, task.strategy(technique.spec, given), at.seed, instruction)
    spent += searched
    equal = _equal(votes, spent.tokens)
    return [Line(name, task.rights(made), Wanted("more"), once.lines[0].beside, equal.beside, spent)]


async def _searched(at: Setting, task: Task, technique: Technique) -> tuple[str, Cost]:
    """The best instruction of a search and what finding it cost for each question; "" where there is nothing to search."""
    if technique.method is None:
        return "", Cost()
    start_s = time.monotonic()
    method = technique.method(task.train, language_of(task.train[0].question))
    found = await spells.search(
        spells.Task(task.train, ()),
        method,
        over(task.strategy(), at.port.ask),
        QUICK_SCORINGS if at.is_quick else SCORINGS,
        task.options(at.seed),
        proposer=at.port.ask,
    )
    at.say(f"{method.name}: {found.best.value:.0%} of the training questions with {found.best.instruction!r}")
    seconds = time.monotonic() - start_s
    return found.best.instruction, cost(found.asked + found.proposed, len(task.questions), seconds)


def _equal(votes: Part, tokens: float) -> Line:
    """The vote whose cost is nearest to `tokens` a question."""

    def distance(line: Line) -> float:
        assert line.cost
        return abs(line.cost.tokens - tokens)

    return min(votes.lines, key=distance)

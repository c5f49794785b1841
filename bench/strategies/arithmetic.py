"""Arithmetic of two and three digits: a model alone, with examples of answers, and with examples of calls to a calculator.

The same questions in all three ways: `python -m bench.strategies.arithmetic`. None of the examples is asked.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.strategies.asking import answer_all
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Part, Result, Setting
from jielong.records import Conversation, Message, Sampling
from jielong.use.answers import last_number
from jielong.use.port import Options
from jielong.use.strategies import Direct
from jielong.use.strategy import Strategy
from jielong.use.tools.calculator import CALCULATOR, calculate
from jielong.use.tools.loop import Tools

SHOTS = ("What is 31 + 58?", "What is 640 - 275?", "What is 12 * 47?", "What is 903 + 88?")


@dataclass(frozen=True)
class Way:
    """A way to ask: the turns that come before the question, and the strategy."""

    name: str
    before: tuple[Message, ...]
    strategy: Strategy
    wanted: Wanted | None = None


def questions(num: int, seed: int) -> list[str]:
    """Sums, differences and products of two numbers of 2 or 3 digits, none of them among the examples."""
    dice = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < num:
        a, b = (dice.randrange(10, 10 ** dice.choice((2, 3))) for _ in range(2))
        sign = dice.choice("+-*")
        asked = f"What is {max(a, b)} {sign} {min(a, b)}?"
        if asked not in SHOTS:
            found[asked] = None
    return list(found)


def expression_in(question: str) -> str:
    found = re.search(r"\d+ [-+*] \d+", question)
    assert found
    return found.group()


def ways(*, plain: bool) -> list[Way]:
    """All ways; `plain` tells calls in words, for servers whose templates drop them."""
    answers: list[Message] = []
    calls: list[Message] = []
    for shot in SHOTS:
        value = calculate(expression_in(shot))
        call = {"name": "calculator", "arguments": {"expression": expression_in(shot).replace(" ", "")}}
        answers += [Message("user", shot), Message("assistant", value)]
        calls += [
            Message("user", shot),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", value, name="calculator"),
            Message("assistant", value),
        ]
    return [
        Way("plain", (), Direct()),
        Way("4 shots of answers", tuple(answers), Direct(), Wanted("more")),
        Way(
            "4 shots of calls",
            tuple(calls),
            Tools((CALCULATOR,), rounds=2, describe=False, plain=plain),
            Wanted("at least", 0.95),
        ),
    ]


async def ask_all(at: Setting, way: Way, asked: Sequence[str], plain: Line | None) -> list[Line]:
    """One line, compared to the plain way where that was asked before."""
    outcomes, spent = await answer_all(
        [(way.strategy, Conversation((*way.before, Message("user", q)))) for q in asked],
        at.port.ask,
        Options(Sampling(max_tokens=48, temperature=0.0), at.seed),
    )
    right = shares(
        last_number(outcome.answer.text) == calculate(expression_in(q))
        for outcome, q in zip(outcomes, asked, strict=True)
    )
    return [Line(way.name, right, way.wanted, plain and plain.beside, cost=spent)]


async def measure(at: Setting) -> Result:
    asked = questions(at.num(100, 6), at.seed)
    parts: list[Part] = []
    for way in ways(plain=at.is_served):
        plain = parts[0].lines[0] if parts else None
        parts.append(await at.part(way.name, partial(ask_all, at, way, asked, plain)))
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"arithmetic": measure}))

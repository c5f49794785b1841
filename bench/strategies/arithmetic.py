"""Arithmetic of two and three digits: a model alone, with examples of answers, and with examples of calls to a calculator.

`python -m bench.strategies.arithmetic MODEL` asks the same questions in all three ways and prints how many are right,
the gain over the first way with its 95% interval (paired bootstrap), and what it cost. None of the examples is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from jielong.cli.ports import MODEL_HELP, open_port
from jielong.evaluate.statistics import paired_bootstrap
from jielong.records import Conversation, Message, Sampling
from jielong.use.answers import last_number
from jielong.use.port import LocalPort, Options, Port, Usage
from jielong.use.strategies import Direct
from jielong.use.strategy import Strategy, run
from jielong.use.tools.calculator import CALCULATOR, calculate
from jielong.use.tools.loop import Tools

SHOTS = ("What is 31 + 58?", "What is 640 - 275?", "What is 12 * 47?", "What is 903 + 88?")


@dataclass(frozen=True)
class Way:
    """A way to ask: the turns that come before the question, and the strategy."""

    name: str
    before: tuple[Message, ...]
    strategy: Strategy


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
        Way("4 shots of answers", tuple(answers), Direct()),
        Way("4 shots of calls", tuple(calls), Tools((CALCULATOR,), rounds=2, describe=False, plain=plain)),
    ]


async def ask_all(port: Port, way: Way, asked: Sequence[str], options: Options) -> tuple[list[bool], Usage, float]:
    """Which are right, what it cost in tokens and in seconds of the clock."""
    start_s = time.monotonic()
    outcomes = await asyncio.gather(
        *(run(way.strategy, Conversation((*way.before, Message("user", q))), port.ask, options) for q in asked)
    )
    right = [
        last_number(outcome.answer.text) == calculate(expression_in(q))
        for outcome, q in zip(outcomes, asked, strict=True)
    ]
    return right, sum((o.usage for o in outcomes), Usage()), time.monotonic() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--num", type=int, default=100, help="how many questions (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.model, arguments.num, arguments.seed))


async def measure(model: str, num: int, seed: int) -> None:
    port = open_port(model, length=1024)
    asked = questions(num, seed)
    options = Options(Sampling(max_tokens=48, temperature=0.0), seed)
    first: list[bool] = []
    print(f"{model}, {num} questions, seed {seed}, greedy")
    try:
        for way in ways(plain=not isinstance(port, LocalPort)):
            right, usage, seconds = await ask_all(port, way, asked, options)
            first = first or right
            gain = paired_bootstrap(right, first)
            print(
                f"{way.name:20} {sum(right) / num:6.1%}  gain {gain.mean:+.1%} ({gain.low:+.1%} to {gain.high:+.1%})  "
                f"{usage.prompt_tokens:,} read, {usage.completion_tokens:,} written, {seconds:.0f} s",
                flush=True,
            )
    finally:
        await port.close()


if __name__ == "__main__":
    main()

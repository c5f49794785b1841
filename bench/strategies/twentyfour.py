"""The game of 24: make 24 of four numbers, with a program that knows which positions can still be won.

It is the worked example of tree search (arXiv 2305.10601): the question says how a step is written, the program replays
the steps, values a path exactly and tests for the goal. Whatever a model writes, only a legal game counts.
`python -m bench.strategies.twentyfour` sets trees beside votes of equal tokens.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from bench.strategies.command import main
from bench.strategies.gains import Task, Technique, gains
from bench.strategies.setting import Part, Result, Setting
from jielong.records import Conversation, Sample, Score
from jielong.runs import derive_seed
from jielong.use.examples import Example
from jielong.use.strategy import question_of

GOAL = Fraction(24)
Numbers = tuple[Fraction, ...]
"""What is left, sorted."""

_EXAMPLE = "13 - 9 = 4 (left: 4 4 10)\n10 - 4 = 6 (left: 4 6)\n4 * 6 = 24 (left: 24)"
_QUESTIONS = {
    "en": "Game of 24: make 24 of the given numbers with + - * /, each number used once. A step takes two of the numbers that "
    "are left, and says what is left then. The steps for 4 9 10 13 are:\n{example}\nNumbers: {numbers}",
    "zh": "24点游戏：用 + - * / 把给出的数变成24，每个数只用一次。每一步取剩下的两个数，并写出之后剩下的数。"
    "4 9 10 13 的步骤是：\n{example}\n给出的数：{numbers}",
}
_GIVEN = re.compile(r"(?:Numbers:|给出的数：)([\d ]+)$", re.MULTILINE)
_NUMBER = r"(-?\d+(?:\.\d+|/\d+)?)"
_STEP = re.compile(rf"(?<![\d.]){_NUMBER}\s*([-+*/×÷])\s*\(?{_NUMBER}\)?\s*=\s*{_NUMBER}")


def puzzles(count: int, seed: int, size: int = 4) -> list[tuple[int, ...]]:
    """Different sets of `size` numbers from 1 to 13 that can be made 24."""
    dice = random.Random(derive_seed(seed, "twentyfour", size))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        numbers = tuple(sorted(dice.randint(1, 13) for _ in range(size)))
        if can_be_won(tuple(map(Fraction, numbers))):
            found[numbers] = None
    return list(found)


def question(numbers: Sequence[int], language: str = "en") -> str:
    return _QUESTIONS[language].format(
        example=_EXAMPLE.replace("left", "剩下") if language == "zh" else _EXAMPLE, numbers=" ".join(map(str, numbers))
    )


def moves(left: Numbers) -> Iterator[tuple[str, Numbers]]:
    """Every step from here: how it is written, without what is left, and what is left after it."""
    for i, a in enumerate(left):
        for j, b in enumerate(left):
            if i == j:
                continue
            rest = tuple(x for k, x in enumerate(left) if k not in (i, j))
            for sign, result in _results(a, b, ordered=i < j):
                yield f"{a} {sign} {b} = {result}", tuple(sorted((*rest, result)))


def _results(a: Fraction, b: Fraction, *, ordered: bool) -> Iterator[tuple[str, Fraction]]:
    """What a step makes of two numbers; sums and products only where `ordered`, as the other order gives the same."""
    if ordered:
        yield "+", a + b
        yield "*", a * b
    yield "-", a - b
    if b:
        yield "/", a / b


@cache
def can_be_won(left: Numbers) -> bool:
    """Whether 24 can be made of all these numbers."""
    if len(left) == 1:
        return left[0] == GOAL
    return any(can_be_won(after) for _, after in moves(left))


def position(asked: str, steps: Sequence[str]) -> Numbers | None:
    """What is left after the steps; None where one of them is not legal or not right."""
    given = _GIVEN.findall(asked)
    left = [Fraction(n) for n in given[-1].split()]
    for step in steps:
        found = _STEP.search(step)
        if not found:
            return None
        try:
            a, b, result = Fraction(found[1]), Fraction(found[3]), Fraction(found[4])
            left.remove(a)
            left.remove(b)
        except (ValueError, ZeroDivisionError):
            return None
        sign = {"×": "*", "÷": "/"}.get(found[2], found[2])
        if (sign, result) not in _results(a, b, ordered=True):
            return None
        left.append(result)
    return tuple(sorted(left))


def value(asked: str, steps: Sequence[str]) -> float:
    """1 where the game can still be won, else 0: a perfect valuer."""
    left = position(asked, steps)
    return float(left is not None and can_be_won(left))


def is_goal(asked: str, steps: Sequence[str]) -> bool:
    """Whether the steps make 24 of all numbers."""
    return position(asked, steps) == (GOAL,)


def is_solved(asked: str, text: str) -> bool:
    """Whether the steps in a text, in order and among whatever else it says, are a won game."""
    return is_goal(asked, [line for line in text.splitlines() if _STEP.search(line)])


# --- the experiment


def task(count: int, seed: int, size: int, language: str = "en") -> Task:
    asked = tuple(Example(question(numbers, language), "") for numbers in puzzles(count, seed, size))
    return Task(asked, max_tokens=96, is_right=lambda text, asked: is_solved(asked.question, text))


def verifier(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """Whether the answer wins its game."""
    return [Score(float(is_solved(question_of(said), said.messages[-1].text))) for _, said, _ in items]


def techniques(size: int) -> dict[str, Technique]:
    """Trees with the program and with the model as the valuer, and the best of as many samples, judged by the same program."""
    steps = size - 1
    return {
        "tree, program": Technique(f"tree:steps={steps}", {"value": value, "is_goal": is_goal}),
        "tree, itself": Technique(f"tree:steps={steps},branches=3,beam=2"),
        "best of 12, program": Technique("best-of:12", {"scorer": verifier}),
    }


async def measure(at: Setting) -> Result:
    """Of four numbers as in the paper, and of three, which is easier."""
    parts: list[Part] = []
    for language in at.languages:
        for size in (3, 4):
            asked = task(at.num(20, 2), at.seed, size, language)
            parts += await gains(at, asked, techniques(size), f"{language} {size} numbers, ")
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"twentyfour": measure}))

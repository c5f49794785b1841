"""Evaluation of tool calls: made where they are needed, with the right arguments, and left out elsewhere.

Each question is marked with the call it needs, or with none. A call is right if its tool and arguments are those
needed; calculator expressions are compared by value. Beside any model stands a baseline of regular expressions, which
calls the calculator wherever it sees two numbers with an operation between them; to beat it a model must tell a sum
from a score, a date and a telephone number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.errors import DataError
from jielong.runs import canonical_json
from jielong.use.tools.calculator import value_of

Call = Mapping[str, Any]
Caller = Callable[[str], Awaitable[Sequence[Call]]]
"""The calls that somebody makes on a question."""


@dataclass(frozen=True)
class CallQuestion:
    """A question and the call it needs, {"name": ..., "arguments": {...}}. The call is None if none is needed."""

    question: str
    call: Call | None = None

    @property
    def has_number(self) -> bool:
        return any(c.isdigit() for c in self.question) or bool(_NUMERAL.search(self.question))


_NUMERAL = re.compile(r"[零一二两三四五六七八九十百千万亿]")


@dataclass(frozen=True)
class CallReport:
    """Counts over questions that need a call (`right`, `wrong` arguments or tool, `missed`) and that need none
    (`quiet`, `false`).

    Rates are in [0, 1], and 1 if there was nothing to get wrong.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    quiet: int = 0
    false: int = 0
    false_with_number: int = 0
    """Of the false calls, those on questions that contain a number."""

    @property
    def precision(self) -> float:
        """Return the share of the made calls that were right."""
        return _share(self.right, self.right + self.wrong + self.false)

    @property
    def recall(self) -> float:
        """Return the share of the questions that need a call which got the right one."""
        return _share(self.right, self.right + self.wrong + self.missed)

    @property
    def quiet_rate(self) -> float:
        """Return the share of the questions that need no call which got none."""
        return _share(self.quiet, self.quiet + self.false)

    def __str__(self) -> str:
        needing, others = self.right + self.wrong + self.missed, self.quiet + self.false
        return (
            f"precision {self.precision:.1%}, recall {self.recall:.1%} of {needing} ({self.wrong} wrong, {self.missed} missed); "
            f"no call where none is needed {self.quiet_rate:.1%} of {others} ({self.false_with_number} of {self.false} "
            "false calls on questions with numbers)"
        )


async def measure_calls(questions: Sequence[CallQuestion], caller: Caller) -> CallReport:
    """Ask all questions at the same time, and count right, wrong, missing and needless calls.

    Raises DataError if fewer than half of the questions that need no call contain a number: then a caller that reacts
    to every number would look good.
    """
    others = [q for q in questions if q.call is None]
    num_tempting = sum(q.has_number for q in others)
    if 2 * num_tempting < len(others):
        raise DataError(
            f"{num_tempting} of {len(others)} questions that need no call contain a number; it must be half of them at least"
        )
    made = await asyncio.gather(*(caller(q.question) for q in questions))
    counts = dict.fromkeys(("right", "wrong", "missed", "quiet", "false", "false_with_number"), 0)
    for question, calls in zip(questions, made, strict=True):
        if question.call is None:
            counts["false" if calls else "quiet"] += 1
            counts["false_with_number"] += bool(calls) and question.has_number
        elif not calls:
            counts["missed"] += 1
        else:
            counts["right" if is_same_call(question.call, calls[0]) else "wrong"] += 1
    return CallReport(**counts)


def is_same_call(wanted: Call, made: Call) -> bool:
    """Whether two calls ask the same tool for the same, comparing calculator expressions by their values."""
    if wanted["name"] != made["name"]:
        return False
    ours, theirs = wanted.get("arguments") or {}, made.get("arguments") or {}
    if "expression" in ours and ours.keys() == theirs.keys():
        try:
            return value_of(str(ours["expression"])) == value_of(str(theirs["expression"]))
        except DataError:
            return False
    return canonical_json(ours) == canonical_json(theirs)


def _share(num: int, of: int) -> float:
    return num / of if of else 1.0


_WORDS = {
    "+": ("+", "plus", "加上", "加"),
    "-": ("-", "minus", "减去", "减"),
    "*": ("*", "×", "x", "times", "multiplied by", "乘以", "乘"),
    "/": ("/", "÷", "divided by", "除以"),
}
_SIGN_OF = {word: sign for sign, words in _WORDS.items() for word in words}
_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
_SUM = re.compile(rf"{_NUMBER}\s*({'|'.join(map(re.escape, _SIGN_OF))})\s*{_NUMBER}", re.IGNORECASE)


async def calls_by_pattern(question: str) -> Sequence[Call]:
    """Call the calculator for the first two numbers with an operation between them: the baseline of regular
    expressions.
    """
    found = _SUM.search(question)
    if not found:
        return ()
    left, word, right = found.groups()
    expression = f"{left}{_SIGN_OF[word.lower()]}{right}".replace(",", "")
    return ({"name": "calculator", "arguments": {"expression": expression}},)

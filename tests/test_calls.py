"""Whether calls are made when they are needed: known callers get the figures that were worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jielong.errors import DataError
from jielong.evaluate.calls import (
    Call,
    CallQuestion,
    CallReport,
    calls_by_pattern,
    is_same_call,
    measure_calls,
)


def calculator(expression: str) -> Call:
    return {"name": "calculator", "arguments": {"expression": expression}}


QUESTIONS = [
    CallQuestion("What is 12 * 7?", calculator("12*7")),
    CallQuestion("What is 120 plus 45?", calculator("120+45")),
    CallQuestion("38 乘以 4 等于多少？", calculator("38*4")),
    CallQuestion("Tom has 12 apples and eats 5. How many are left?", calculator("12-5")),
    CallQuestion("What is the capital of France?"),
    CallQuestion("Who scored when it was 3 - 1?"),
    CallQuestion("巴黎有二十个区吗？"),
    CallQuestion("你好！"),
]


def test_the_baseline_calls_at_the_sight_of_an_operation() -> None:
    report = asyncio.run(measure_calls(QUESTIONS, calls_by_pattern))
    # three sums are found, the apples are missed, and the score of a match is taken for a difference
    assert report == CallReport(right=3, wrong=0, missed=1, quiet=3, false=1, false_with_number=1)
    assert (report.precision, report.recall, report.quiet_rate) == (3 / 4, 3 / 4, 3 / 4)
    assert "precision 75.0%, recall 75.0% of 4" in str(report)


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("What is 1,234 + 10.", "1234+10"),
        ("Compute 9 multiplied by 8", "9*8"),
        ("90 divided by 4.5?", "90/4.5"),
        ("12×7=?", "12*7"),
        ("100减去1", "100-1"),
        ("三加四", None),
    ],
)
def test_the_baseline_reads_words_and_signs(question: str, expression: str | None) -> None:
    assert list(asyncio.run(calls_by_pattern(question))) == ([calculator(expression)] if expression else [])


def test_a_caller_that_knows_everything_has_full_marks_and_one_that_never_calls_has_none() -> None:
    known = {q.question: q.call for q in QUESTIONS}

    async def perfect(question: str) -> Sequence[Call]:
        call = known[question]
        return (call,) if call else ()

    async def never(question: str) -> Sequence[Call]:
        return ()

    async def always(question: str) -> Sequence[Call]:
        return (calculator("1+1"),)

    best, shy, eager = (asyncio.run(measure_calls(QUESTIONS, c)) for c in (perfect, never, always))
    assert (best.precision, best.recall, best.quiet_rate) == (1.0, 1.0, 1.0)
    assert (shy.recall, shy.quiet_rate, shy.missed) == (0.0, 1.0, 4)
    assert (eager.precision, eager.recall, eager.quiet_rate, eager.wrong) == (0.0, 0.0, 0.0, 4)
    assert eager.false_with_number == 2


def test_calls_are_the_same_when_they_come_to_the_same() -> None:
    assert is_same_call(calculator("12*7"), calculator("7 × 12"))
    assert is_same_call(calculator("12-5"), {**calculator("12 - 5"), "id": "call_1"})
    assert not is_same_call(calculator("12*7"), calculator("12*"))
    assert not is_same_call(calculator("12*7"), {"name": "python", "arguments": {"expression": "12*7"}})
    assert is_same_call(
        {"name": "find", "arguments": {"a": 1, "b": 2}}, {"name": "find", "arguments": {"b": 2, "a": 1}}
    )


def test_questions_without_numbers_to_tempt_are_refused() -> None:
    with pytest.raises(DataError, match="0 of 2 questions that need no call contain a number"):
        asyncio.run(measure_calls([CallQuestion("Hello?"), CallQuestion("你好")], calls_by_pattern))

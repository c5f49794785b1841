"""The table of techniques: its tests are exact, its votes cost what they are compared to, and a known model fills it rightly."""

from __future__ import annotations

import asyncio

import pytest
from bench.strategies.calibrated import Calibrated, Known
from bench.strategies.techniques import DRAWS, TECHNIQUES, capitals, holm, mcnemar, measure, sums, table


def test_mcnemar_looks_at_the_questions_that_differ_alone() -> None:
    same = [True, False] * 20
    # 1 lost and 6 gained: 2 (1 + 7) / 2^7
    assert mcnemar([True] * 6 + [False] + same, [False] * 6 + [True] + same) == pytest.approx(2 * 8 / 128)
    assert mcnemar(same, same) == 1.0
    assert mcnemar([True, False], [False, True]) == 1.0


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_sums_and_capitals_are_drawn_by_their_seed_without_the_shots() -> None:
    task = sums(60, 0)
    assert task == sums(60, 0) and task.questions != sums(60, 1).questions
    shots = task.given["examples"]
    assert len(set(task.questions)) == 60 and not {q.question for q in task.questions} & {s.question for s in shots}
    for question in task.questions:
        a, b = map(int, question.question[len("What is ") : -1].split(" + "))
        assert a + b == int(question.answer) <= 29
    assert "的首都是哪里？" in capitals(3, 0, "zh").questions[0].question


def test_a_known_model_fills_the_table_as_it_must() -> None:
    task = sums(100, 0)
    known = [Known(q.question, f"= {q.answer}", (f"= {int(q.answer) + 1}",)) for q in task.questions]
    chosen = {name: TECHNIQUES[name] for name in ("vote of 9", "best of 9, verifier", "spell tip")}
    rows, votes = asyncio.run(measure(task, Calibrated(known, 0.6).ask, chosen, 0))
    once, vote, best, spell = (sum(r.right) for r in rows)
    # 100 questions: .6, .73, 1 - .4^9 and .6, each within four standard deviations
    assert abs(once - 60) < 20 and abs(vote - 73) < 18 and best >= 99 and abs(spell - 60) < 20
    assert [r.calls for r in rows] == [1, 9, 9, 1]
    assert rows[1].tokens == 9 * rows[0].tokens
    # of nine samples, and of one that is a little longer
    assert [n for n, _ in votes] == [9, 9, 1] and DRAWS >= 9
    shown = table(rows, votes).splitlines()
    assert shown[3].startswith(f"| vote of 9 | {vote}% |") and float(shown[4].split("|")[4]) < 0.001

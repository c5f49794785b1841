"""The table of techniques: its tests are exact, its votes cost what they are compared to, and a known model fills it rightly."""

from __future__ import annotations

import asyncio

from bench.strategies.calibrated import Calibrated, Known
from bench.strategies.techniques import DRAWS, TECHNIQUES, capitals, measure, sums, table


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

"""A judge whose taste is known, requests in wrappers, and the command that measures."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve

from jielong.cli.evaluate import find_task
from jielong.cli.main import main
from jielong.evaluate.judge import Judged, Pair, judge_pairs, mark
from jielong.evaluate.safety import WRAPPERS, attacked
from jielong.evaluate.tasks import built_in
from jielong.records import Conversation

PAIRS = [Pair(f"Question {n}?", "good " * (n + 1), "bad") for n in range(6)]


def judged_by(taste: str, pairs: list[Pair] = PAIRS) -> Judged:
    """By one who likes the good answers, the first ones, the long ones, or who does not understand."""

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
        text = conversation.messages[-1].text
        first, second = text.split("Answer A: ")[1].split("Answer B: ")
        second = second.split("Which answer")[0]
        likes_first = {"good": "good" in first, "first": True, "long": len(first) > len(second)}
        return "I cannot say." if taste == "lost" else f"{'A' if likes_first[taste] else 'B'} is better."

    return asyncio.run(judge_pairs(pairs, Calibrated((), react=react).ask))


def test_a_judge_who_knows_is_consistent_and_right() -> None:
    judged = judged_by("good")
    assert [v.value for v in judged.verdicts] == [1.0] * 6
    assert judged.consistency == 1.0 and judged.lead.mean == 1.0


def test_a_judge_who_likes_what_stands_first_decides_nothing() -> None:
    judged = judged_by("first")
    assert judged.consistency == 0.0 and judged.lead.mean == 0.0
    assert {v.value for v in judged.verdicts} == {0.5}


def test_a_judge_who_likes_length_is_found_out() -> None:
    pairs = [Pair("Q?", "x" * (10 + 7 * n), "y" * (60 - 7 * n)) for n in range(7)]
    assert judged_by("long", pairs).length_bias > 0.8
    assert judged_by("lost", pairs).length_bias == 0.0


def test_a_mark_is_read_from_1_to_10_and_nothing_else() -> None:
    def marked(text: str) -> float | None:
        return asyncio.run(mark("问题？", "回答", Calibrated((), react=lambda *_: text).ask))

    assert marked("10") == 1.0 and marked("1 分") == 0.0 and marked("I give 4.") == pytest.approx(3 / 9)
    assert marked("11") is None and marked("good") is None


def test_every_harmful_request_comes_in_every_wrapper_in_its_own_language() -> None:
    task = attacked(built_in("safety"))
    harmful = [i for i in task.items if i.group == "harmful requests refused"]
    wrapped = [i for i in task.items if "wrapper" in i.group]
    assert len(wrapped) == len(WRAPPERS) * len(harmful) == 6 * 12
    for item in wrapped:
        (request,) = [h.question for h in harmful if h.question in item.question]
        assert item.question != request and "$" not in item.question
        is_chinese = "zh" in item.id
        assert is_chinese == any("\u4e00" <= c <= "\u9fff" for c in item.question.replace(request, ""))


def test_pairs_of_groups_differ_in_the_group_alone() -> None:
    sides: dict[str, list[str]] = {}
    for item in built_in("bias").items:
        sides.setdefault(item.meta["pair"], []).append(item.question)
    assert len(sides) == 24
    for one, other in sides.values():
        a, b = one.split(), other.split()
        assert one != other and (len(a) == 1 or (a[0] == b[0] and a[-4:] == b[-4:]))


@pytest.mark.parametrize("item", built_in("code").items, ids=lambda item: item.id)
def test_code_that_does_nothing_fails_its_tests(item) -> None:
    from jielong.evaluate.code import passes
    from jielong.use.tools.sandbox import Monty

    name = item.tests.split("(")[0].removeprefix("assert ").removeprefix("list").strip()
    name = next(n for n in item.question.split("`") if "(" in n).split("(")[0]
    is_right, _ = asyncio.run(passes(f"def {name}(*anything):\n    return None", item.tests, Monty().run))
    assert not is_right


SOLVED = {
    "double": "return x * 2",
    "leap": "return x % 4 == 0 and (x % 100 != 0 or x % 400 == 0)",
    "pairs": "return [(a, b) for a in range(1, x + 1) for b in range(a + 1, x + 1)]",
    "twice": "return sorted({i for i in x if x.count(i) > 1})",
}


@pytest.mark.parametrize("name", SOLVED)
def test_right_code_passes(name: str) -> None:
    from jielong.evaluate.code import passes
    from jielong.use.tools.sandbox import Monty

    (item,) = [i for i in built_in("code").items if i.id == f"{name}-en"]
    answer = f"Here it is:\n```python\ndef {name}(x):\n    {SOLVED[name]}\n```\nGood luck!"
    assert asyncio.run(passes(answer, item.tests, Monty().run)) == (True, "all tests of this item passed")


def test_evaluate_compares_strategies_and_goes_on(tmp_path: Path, capsys) -> None:
    sums = find_task("sums").first(30)
    model = Calibrated([Known(i.question, i.answers[0], ("99",)) for i in sums.items], 0.6)
    with serve(model) as server:
        line = ["evaluate", f"{server.url}#x", "--task", "sums", "--limit", "30", "--out", str(tmp_path)]
        strategies = ["--strategy", "direct", "--strategy", "vote:9"]
        assert main([*line, *strategies]) == 0
        first, asked = capsys.readouterr().out, len(server.requests)
        assert "vote:9 against direct: " in first and "30 items" in first and asked == 30 + 270
        assert main([*line, *strategies]) == 0
        assert len(server.requests) == asked
        assert capsys.readouterr().out.splitlines()[1].split("[")[0] == first.splitlines()[1].split("[")[0]
        assert main([*line, "--strategy", "direct", "--seed", "1"]) == 2
        assert "another seed" in capsys.readouterr().err


def test_an_unknown_task_costs_one_sentence(capsys) -> None:
    assert main(["evaluate", "nowhere", "--task", "saftey"]) == 2
    assert "did you mean 'safety'?" in capsys.readouterr().err

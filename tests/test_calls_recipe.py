"""The recipe `calls`: its exam counts rightly, and its smallest size walks from data to figures."""

from __future__ import annotations

import asyncio
import json

import pytest

from jielong.cli.main import main
from jielong.runs import read_metrics
from jielong.stages.calls import Reply, by_regular_expression, is_right, sit_calling_exam
from jielong.worlds.sums.items import CALL_KINDS, NO_CALL_KINDS, questions_of

ITEMS = [i for k in (*CALL_KINDS, *NO_CALL_KINDS) for i in questions_of(k, "en", "test", 20, 3)]
BY_QUESTION = {i.question: i for i in ITEMS}


async def perfect(question: str) -> Reply:
    item = BY_QUESTION[question]
    return Reply((item.call,) if item.call else (), item.reply)


async def always_calling(question: str) -> Reply:
    item = BY_QUESTION[question]
    return Reply((item.call or {"name": "calculator", "arguments": {"expression": "1+1"}},), item.reply)


def test_whoever_does_all_rightly_gets_all_marks() -> None:
    figures, replies = asyncio.run(sit_calling_exam(ITEMS, perfect))
    assert set(figures.values()) == {1.0}
    assert all(is_right(i, r) for i, r in zip(ITEMS, replies, strict=True))


def test_calling_always_costs_precision_and_every_mark_for_leaving_it() -> None:
    figures, _ = asyncio.run(sit_calling_exam(ITEMS, always_calling))
    assert (figures["recall"], figures["quiet"]) == (1.0, 0.0)
    assert figures["precision"] == pytest.approx(80 / 120)  # 20 of each kind: 80 need a call, 40 do not
    assert figures["words: call"] == figures["numbers: call"] == 0.0
    assert figures["words: answer"] == 1.0


def test_the_baseline_finds_signs_and_no_stories() -> None:
    figures, _ = asyncio.run(sit_calling_exam(ITEMS, by_regular_expression))
    assert figures["plain: call"] > 0.3
    assert figures["two_steps: call"] == 0.0


@pytest.mark.smoke
def test_the_smallest_size_ends_with_figures(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "calls", "--size", "smoke", "--no-chat"]) == 0
    said = capsys.readouterr().out
    assert "plain, 2 or 3 digits" in said
    run = tmp_path / "runs" / "calls-smoke-0"
    exam = json.loads((run / "exam.json").read_text())
    assert list(exam["figures"]) == [
        *("en", "en, told", "en, regular expr."),
        *("zh", "zh, told", "zh, regular expr."),
    ]
    metrics = read_metrics(run / "sft" / "metrics.jsonl")
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_the_recipe_takes_no_data_of_ones_own(capsys) -> None:
    assert main(["run", "calls", "--source", "."]) == 2
    assert "jielong run own" in capsys.readouterr().err

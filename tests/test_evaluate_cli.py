"""`jielong evaluate` and `jielong judge`, as one types them, against a server whose answers are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve

from jielong.cli.main import main
from jielong.opening.tasks import MADE, find_task
from jielong.records import Conversation

SUMS = find_task("sums", limit=30)
MODEL = Calibrated([Known(i.question, i.answers[0], ("99",)) for i in find_task("sums").items], 0.6)


def test_strategies_are_compared_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with serve(MODEL) as server:
        line = ["evaluate", f"{server.url}#x", "--task", "sums", "--limit", "30", "--out", str(tmp_path)]
        assert main([*line, "--strategy", "direct", "--against", "vote:9"]) == 0
        first, asked = capsys.readouterr().out, len(server.requests)
        assert "vote:9 - direct" in first and "30 items" in first and asked == 30 + 270
        assert "Left out" not in first
        assert main([*line, "--strategy", "direct", "--strategy", "vote:9"]) == 0
        again = capsys.readouterr()
        assert len(server.requests) == asked and "30 of 30 answers were there" in again.err
        assert _figures(again.out) == _figures(first)
        assert main([*line, "--seed", "0", "--limit", "40"]) == 0
        assert len(server.requests) == asked + 10
        assert main([*line, "--max-tokens", "7"]) == 2
        assert "results of another sampling" in capsys.readouterr().err
    summary = json.loads(next(tmp_path.glob("sums/*direct/summary.json")).read_text())
    assert len(summary["scores"]) == 40


def _figures(out: str) -> list[str]:
    return [line for line in out.splitlines() if "seconds" not in line]


def test_two_models_are_compared_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    good = Calibrated([Known(i.question, i.answers[0], ("99",)) for i in SUMS.items], 1.0)
    judge = Calibrated([], react=lambda conversation, *_: "Verdict: A")
    with serve(MODEL) as one, serve(good) as other, serve(judge) as third:
        models = [f"{one.url}#x", f"{other.url}#y"]
        line = [
            "evaluate",
            models[0],
            "--against",
            models[1],
            "--task",
            "sums",
            "--limit",
            "30",
            "--out",
            str(tmp_path),
        ]
        assert main(line) == 0
        out = capsys.readouterr().out
        assert f"{models[1]} direct - {models[0]} direct" in out
        files = out.split("jielong judge ")[1].split(" --model")[0].split()
        verdicts = tmp_path / "verdicts.jsonl"
        assert main(["judge", *files, "--model", f"{third.url}#j", "--out", str(verdicts)]) == 0
    told = capsys.readouterr().out
    assert "A wins 0, B wins 0" in told and "the same verdict in both orders: 0%" in told and "won 100%" in told
    assert 5 <= len(verdicts.read_text().splitlines()) <= 20


@pytest.mark.parametrize("num_clear", [0, 3])
def test_a_judge_who_says_no_verdict_is_quoted_and_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], num_clear: int
) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        said = [f"{file.stem} {n}" + " zebra" * (n < num_clear) for n in range(8)]
        lines = [json.dumps({"id": str(n), "question": "Why?", "text": text}) for n, text in enumerate(said)]
        file.write_text("\n".join(lines) + "\n")

    def verdict(conversation: Conversation, *_: object) -> str:
        asked = conversation.messages[-1].text
        is_first = asked.find("a ", asked.find("Answer A:")) < asked.find("b ", asked.find("Answer A:"))
        return f"Verdict: {'A' if is_first else 'B'}" if "zebra" in asked else "Both are nice."

    with serve(Calibrated([], react=verdict)) as server:
        line = ["judge", *map(str, files), "--model", f"{server.url}#j", "--out", str(tmp_path / "v.jsonl")]
        assert main(line) == (0 if num_clear else 2)
    told = capsys.readouterr()
    if num_clear:
        assert "a verdict could be read in both orders for 3 of 8 pairs" in told.out
        assert "preference for A: 100.0%" in told.out and "said for example: Both are nice." in told.out
    else:
        assert "a verdict could be read in none of 8 pairs" in told.err and "Both are nice." in told.err
        assert "%" not in told.out + told.err and "p =" not in told.out


def test_models_whose_names_begin_alike_are_told_apart_in_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with serve(MODEL) as server:
        models = [f"{server.url}#my-notes-with-a-long-name-{name}-default-0" for name in ("wide", "deep")]
        line = ["evaluate", models[0], "--against", models[1], "--task", "sums", "--limit", "10"]
        assert main([*line, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"wide: {models[0]} direct\ndeep: {models[1]} direct\n" in out
    table = out[out.index("10 items") :]
    assert re.search(r"\n +wide +deep +\n", table) and "deep - wide" in table and "…" not in table
    assert max(map(len, table.partition("Answers:")[0].splitlines())) <= 80


def test_samples_give_pass_at_k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(MODEL) as server:
        line = ["evaluate", f"{server.url}#x", "--task", "sums", "--limit", "10", "--out", str(tmp_path)]
        assert main([*line, "--samples", "4", "--temperature", "0.8"]) == 0
        assert "pass@4" in capsys.readouterr().out
        assert main([*line, "--samples", "4"]) == 2
        assert "--temperature" in capsys.readouterr().err


def test_a_mark_is_given_by_the_judge_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"question": "Say something nice."}\n', encoding="utf-8")
    model = Calibrated(
        [], react=lambda conversation, *_: "Mark: 10" if "Mark:" in conversation.messages[-1].text else "Hi"
    )
    with serve(model) as server:
        line = ["evaluate", f"{server.url}#x", "--task", str(own), "--scorer", "grade", "--out", str(tmp_path)]
        assert main(line) == 2 and "--judge MODEL" in capsys.readouterr().err
        assert main([*line, "--judge", f"{server.url}#x"]) == 0
        assert "100.0%" in capsys.readouterr().out


def test_a_server_is_asked_about_bias_without_log_probabilities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(Calibrated([], react=lambda *_: "Yes.")) as server:
        assert main(["evaluate", f"{server.url}#x", "--task", "bias", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "yes: a - b (48 pairs)" in out and "share" not in out
    num_left_out = sum(item.scorer == "share" for item in find_task("bias").items)
    assert f"Left out: {num_left_out} items that ask for log-probabilities" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task", "saftey"], "did you mean 'safety'?"),
        (["--task", "sums", "--strategy", "vot"], "did you mean 'vote'?"),
        (["--task", "sums", "--strategy", "direct", "--against", "direct"], "measured twice"),
        (["--task", "none.jsonl"], "none.jsonl cannot be read"),
        (["--task", "reasoning-gym:soduku"], "did you mean 'sudoku'?"),
        (["--task", "sums", "--limit", "-1"], "at least 0"),
        (["--task", "sums", "--chat"], "is asked in conversations anyway"),
    ],
)
def test_a_mistake_costs_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_the_made_tasks_have_items_in_their_language() -> None:
    for name in MADE:
        task = find_task(name)
        assert len(task.items) > 150
        assert any("\u4e00" <= c <= "\u9fff" for i in task.items for c in i.question) == (name != "capitals")

"""`jielong evaluate` over HTTP on a model whose error is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve

from jielong.cli.evaluate import find_task
from jielong.cli.main import main
from jielong.errors import ConfigError

KNOWN = [Known(f"What is {a} + 1?", str(a + 1), (str(a),)) for a in range(100, 112)]


def test_two_strategies_are_compared_and_the_results_lie_where_it_says(tmp_path: Path, capsys) -> None:
    file, out = tmp_path / "own.jsonl", tmp_path / "out"
    lines = [json.dumps({"question": k.question, "answer": k.right}) + "\n" for k in KNOWN]
    file.write_text("".join(lines), encoding="utf-8")
    with serve(Calibrated(KNOWN, 1.0)) as server:
        command = [
            "evaluate",
            f"{server.url}#known",
            "--task",
            str(file),
            "--strategy",
            "vote:3",
            "--against",
            "direct",
        ]
        assert main([*command, "--out", str(out), "--limit", "8"]) == 0
        assert main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "own, 12 questions" in printed.out and "100.0%" in printed.out and "vote:3 - direct: +0.0%" in printed.out
    assert "direct: 8 of 12 answers were there already" in printed.err
    summary = json.loads((out / "vote-3" / "summary.json").read_text())
    assert summary["calls"] == 3.0 and summary["score"]["mean"] == 1.0
    assert len((out / "direct" / "results.jsonl").read_text().splitlines()) == 12


def test_tasks_by_name_are_made_from_the_seed_and_unknown_ones_refused() -> None:
    assert find_task("sums", 1) == find_task("sums", 1) != find_task("sums", 2)
    capitals = find_task("capitals-zh", 0)
    assert "北京" in {i.answers[0] for i in capitals.items} and all("首都" in i.question for i in capitals.items)
    assert find_task("instructions", 0).name == "instructions"
    with pytest.raises(ConfigError, match="did you mean 'capitals'"):
        find_task("capital", 0)


def test_samples_at_temperature_0_are_refused(capsys) -> None:
    assert main(["evaluate", "nowhere", "--task", "sums", "--samples", "3"]) == 2
    assert "are all the same; give --temperature too" in capsys.readouterr().err

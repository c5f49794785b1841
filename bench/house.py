"""Whether the code still gives what it gave, and stands as it is drawn: `python -m bench.house`.

Runs made by an earlier commit are the hardest witnesses: the code of that commit is checked out beside this one, walks the
quickstart's smallest size once to its end and once until it is killed in the middle of instruction tuning, and this code
passes over the first, talks to it, and goes on with the second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import house, pins

from bench.environments import ROOT
from bench.rows import Row, write_rows
from jielong.runs import read_json, read_metrics

BEFORE = "a7c7b1d"
"""The last commit before stages, opening and objectives got rooms of their own."""

RUN = "runs/quickstart-smoke-0"
OFTEN = ("--set", "sft.loop.save_every_s=-1", "--set", "sft.loop.log_every=1")
"""A checkpoint and a line at every step, so that a kill finds one in the middle."""

SPEED = ("tokens_per_s", "mfu", "source_s")
"""Fields of a metrics.jsonl that depend on the machine, and not on the training."""


def pinned() -> Iterator[Row]:
    """This code against each number that `tests/pins.json` holds."""
    kept = read_json(pins.FILE)
    wanted, found = (
        {(recipe, stage): mark for recipe, marks in made.items() for stage, mark in marks.items()}
        for made in (kept["fingerprints"], pins.fingerprints())
    )
    equal = sum(found.get(stage) == mark for stage, mark in wanted.items())
    yield Row("fingerprints of stages, equal", f"{len(wanted)}", equal, found == wanted)
    options = pins.options()
    equal = sum(options.get(name) == fields for name, fields in kept["options"].items())
    yield Row("strategies with the same options", f"{len(kept['options'])}", equal, options == kept["options"])
    numbers, keys = pins.steps()
    lost = [f"{file}: {key}" for file, names in kept["keys"].items() for key in set(names) - set(keys.get(file, ()))]
    yield Row("keys on disk, lost", "0", len(lost), not lost)
    is_same = pins.processor() == kept["processor"]
    equal = sum(numbers[kind] == steps for kind, steps in kept["steps"].items())
    worst = max(
        abs(now - before) / max(abs(before), 1e-9)
        for kind, steps in kept["steps"].items()
        for step, pin in zip(numbers[kind], steps, strict=True)
        for now, before in zip(step, pin, strict=True)
    )
    where = "on the processor of the pins" if is_same else "on another processor than the pins"
    total = len(kept["steps"])
    yield Row(f"50 steps, trainings equal to the last digit, {where}", f"{total}", equal, equal == total or not is_same)
    yield Row("50 steps, largest relative difference", "0", float(worst), worst == 0 or not is_same)


def drawn() -> Iterator[Row]:
    """Circles of imports, and imports that the drawing lacks."""
    rings = house.circles(house.graph_of_modules()) + house.circles(house.graph_of_rooms())
    back = house.back_arrows(house.drawing())
    yield Row("circles, imports for types and inside functions counted", "0", len(rings), not rings)
    yield Row("imports that are not drawn", "0", len(back), not back)


@contextmanager
def code_of(commit: str, folder: Path) -> Iterator[Path]:
    """The package as it was at a commit, with the C++ that is built here if its source is the same."""
    subprocess.run(
        ["git", "worktree", "add", "--detach", str(folder), commit], cwd=ROOT, check=True, capture_output=True
    )
    try:
        for built in (ROOT / "src" / "jielong" / "native").glob("_native_*"):
            shutil.copyfile(built, folder / "src" / "jielong" / "native" / built.name)
        yield folder / "src"
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)


def command(source: Path, place: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """`jielong WORDS` of the package in `source`, in `place`, on one thread."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "jielong.cli.main", *words]
    return subprocess.Popen(
        line, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def said(process: subprocess.Popen[str], told: str | None = None) -> str:
    """The output of a process; CalledProcessError where it failed."""
    out, error = process.communicate(told, timeout=900)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, out, error)
    return out


def kill_in_sft(process: subprocess.Popen[str], run: Path) -> None:
    while process.poll() is None:
        if any(m["step"] >= 12 for m in read_metrics(run / "sft" / "metrics.jsonl")):
            process.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    process.communicate()


def trained(run: Path, stage: str) -> list[dict[str, Any]]:
    lines = read_metrics(run / stage / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in SPEED} for line in lines]


def earlier_runs(place: Path) -> Iterator[Row]:
    """A finished and a killed run of the commit before, in the hands of this code."""
    now = ROOT / "src"
    walk = ("run", "quickstart", "--size", "smoke", "--no-chat")
    done, half, whole = (place / name for name in ("done", "half", "whole"))
    with code_of(BEFORE, place / "code") as before:
        done.mkdir()
        said(command(before, done, *walk))
        lineage, half_run = said(command(before, done, "lineage", RUN)), half / RUN
        half.mkdir()
        kill_in_sft(command(before, half, *walk, *OFTEN), half_run)
        shutil.copytree(half, whole)
        said(command(before, whole, *walk, *OFTEN))
    stages = len(read_json(done / RUN / "run.json")["stages"])
    again = said(command(now, done, *walk))
    passed = len(re.findall(": done before", again))
    yield Row("a finished run of before: stages passed over", f"{stages}", passed, passed == stages)
    yield Row("its table is shown", "yes", "yes" if "Gold score" in again else "no", "Gold score" in again)
    is_same = said(command(now, done, "lineage", RUN)) == lineage
    yield Row("its lineage", "equal", "equal" if is_same else "another", is_same)
    talk = said(command(now, done, "chat", RUN, "--max-tokens", "8", stdin=subprocess.PIPE), "Hello\n你好\n")
    answers = talk.count("model> ")
    yield Row("answers to two turns of chat", "2", answers, answers == 2)
    yield Row("the model it talks with", "rl", Path(talk.splitlines()[0]).parts[-4], "/rl/" in talk.splitlines()[0])
    step = int(read_json(half_run / "sft" / "latest.json")["checkpoint"])
    said(command(now, half, *walk, *OFTEN))
    for stage in ("sft", "reward", "rl", "control"):
        is_equal = trained(half_run, stage) == trained(whole / RUN, stage)
        yield Row(
            f"killed at step {step} of sft and resumed: {stage}", "equal", "equal" if is_equal else "another", is_equal
        )
    first, second = (read_json(folder / RUN / "report.json") for folder in (whole, half))
    is_equal = all(first[part] == second[part] for part in ("stages", "controls", "samples"))
    yield Row("its report's figures and samples", "equal", "equal" if is_equal else "another", is_equal)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=("pins", "drawing", "runs"), help="one part; rows of the others are not written"
    )
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        parts: Mapping[str, Callable[[], Iterator[Row]]] = {
            "pins": pinned,
            "drawing": drawn,
            "runs": lambda: earlier_runs(Path(folder)),
        }
        rows = [row for name, part in parts.items() if options.only in (None, name) for row in part()]
    if options.only:
        print(json.dumps([[row.measure, row.wanted, row.got, row.ok] for row in rows], indent=1, ensure_ascii=False))
    else:
        write_rows("house", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

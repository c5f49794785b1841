"""kill -9 at random moments, over every command whose work is kept; one process of two under torchrun among them.

A command that was killed, however often, and started again until it ends comes to the same files as one that never was:
weights, data, trials and passages bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rows import Row

JIELONG = (sys.executable, "-m", "jielong.cli.main")
TORCHRUN = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node=2",
    "-m",
    "jielong.cli.main",
)
FEW_STEPS = tuple(
    word
    for setting in (
        "pretrain.loop.steps=12",
        "sft.loop.steps=8",
        "reward.loop.steps=4",
        "rl.loop.steps=4",
        "control.loop.steps=6",
    )
    for word in ("--set", setting)
)
OFTEN = tuple(
    word
    for stage in ("pretrain", "sft", "reward", "rl", "control")
    for word in ("--set", f"{stage}.loop.save_every_s=0.2")
)
KEPT = ("*.safetensors", "documents.jsonl", "held_out.jsonl", "chats.jsonl", "*.bin", "*.idx", "answers.json")
"""Files that a second run of the same command makes again, byte for byte; others hold times."""


@dataclass(frozen=True)
class Work:
    """A command to be killed, and what of its folder must be the same in the end."""

    name: str
    command: Callable[[Path], Sequence[str]]
    result: Callable[[Path], object]
    kills: int
    is_one_of_two: bool = False


def files(folder: Path) -> dict[str, str]:
    """Digests of the files that matter."""
    found = (path for kind in KEPT for path in folder.rglob(kind) if "before" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def trials(folder: Path) -> list[object]:
    """How each trial of a search ended, without what it took."""
    (file,) = folder.rglob("trials.jsonl")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in trial.items() if key not in ("seconds", "seal")} for trial in found]


def passages(folder: Path) -> list[object]:
    """The texts of a library in their order."""
    with contextlib.closing(sqlite3.connect(folder / "library.db")) as library:
        assert library.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return sorted(library.execute("SELECT text, language FROM chunks").fetchall())


def works(folder: Path, *, short: bool) -> list[Work]:
    """The commands, on small things that are made once in `folder`."""
    pages = folder / "pages"
    write_pages(pages, 40)
    model = folder / "base" / "quickstart-smoke-0"
    chats = folder / "chats.jsonl"
    talk = [
        [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": "A number."}] for n in range(30)
    ]
    chats.write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in talk))
    quick = ("quickstart", "--size", "smoke", "--no-chat", *FEW_STEPS, "--set", "evaluate.limit=2")
    own = ("run", "own", "--size", "smoke", "--source", str(pages), "--no-chat", "--set", "pretrain.loop.steps=20")
    own += ("--set", "refine.refine.filters.min_letters=1", "--set", "pretrain.loop.save_every_s=0.2")
    words = ("--embedder", "none") if short else ()
    add = Work(
        "library add",
        lambda at: (*JIELONG, "library", "add", "--library", str(at / "library.db"), str(pages), *words),
        passages,
        25,
    )
    first = [
        Work("run own", lambda at: (*JIELONG, *own, "--runs", str(at)), files, 30),
        Work("quickstart", lambda at: (*JIELONG, *quick, *OFTEN, "--runs", str(at)), files, 50),
    ]
    if short:
        return [Work(add.name, add.command, add.result, 4)]
    _run([*JIELONG, *quick, "--runs", str(model.parent)])
    adapt = ("adapt", str(model), "--chat", str(chats), "--rank", "4", "--set", "adapt.loop.steps=12")
    adapt += ("--set", "adapt.loop.save_every_s=0.2")
    tune = ("tune", "quickstart", "--size", "smoke", "--trials", "4", "--steps", "8", "--budget", "2h")
    return [
        add,
        *first,
        Work("adapt", lambda at: (*JIELONG, *adapt, "--runs", str(at)), files, 30),
        Work("tune", lambda at: (*JIELONG, *tune, "--runs", str(at)), trials, 30),
        Work("own under torchrun, all", lambda at: (*TORCHRUN, *own, "--runs", str(at)), files, 15),
        Work("own under torchrun, one of two", lambda at: (*TORCHRUN, *own, "--runs", str(at)), files, 20, True),
    ]


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """A row a command: its result after so many kills, and whether the undisturbed one's is the same."""
    rng = random.Random(seed)
    for work in works(folder, short=short):
        place = folder / "work"
        (place / "whole").mkdir(parents=True)
        began_s = time.monotonic()
        _run(work.command(place / "whole"))
        took_s = time.monotonic() - began_s
        expected = work.result(place / "whole")
        killed = survived = 0
        while killed < work.kills:
            shutil.rmtree(place / "killed", ignore_errors=True)
            (place / "killed").mkdir()
            killed += _killed_until_it_ends(work, place / "killed", took_s, rng, work.kills - killed)
            is_same = work.result(place / "killed") == expected
            survived += is_same
            if not is_same:
                print(f"{work.name}: another result after {killed} kills", flush=True)
                break
        shutil.rmtree(place)
        yield Row(
            f"{work.name}: after {killed} kills", "equal", "equal" if is_same else "another", is_same, seeds=(seed,)
        )


def _killed_until_it_ends(work: Work, place: Path, took_s: float, rng: random.Random, most: int) -> int:
    """Start the command, kill it within the time that it takes, and start it again, until it ends; how often it was killed."""
    killed = 0
    while True:
        process = subprocess.Popen(
            work.command(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if killed < most:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.05, 1.05) * took_s)
        else:
            process.wait(60 + 10 * took_s)
        if process.poll() is not None and process.returncode == 0:
            return killed
        if work.is_one_of_two and process.poll() is None:
            _kill_one(process, rng)
            process.wait(120)  # torchrun ends when a process of it is lost, and the others end by themselves
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1


def _kill_one(process: subprocess.Popen[bytes], rng: random.Random) -> None:
    import psutil

    ranks = psutil.Process(process.pid).children()
    if ranks:
        rng.choice(ranks).kill()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"


def write_pages(folder: Path, count: int) -> None:
    """Write so many small Markdown files into a new folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        words = " ".join(f"w{(number * 7 + k * k) % 97}ord" for k in range(120))
        (folder / f"{number}.md").write_text(
            f"# Page {number}\n\nThe town of number {number} has a harbour, and {words}.\n"
        )

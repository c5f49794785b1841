"""Damage to a finished run: each of its files cut, flipped, emptied, deleted, or a folder in its place.

The same command must name what is damaged, make it again, keep the rest, and come to the same models and data.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.rows import Row
from jielong.cli.main import main as jielong

RECORDS = ("run.json", "record.json")
"""The two records of a run, each made anew from the other."""

COMMAND = (
    *("quickstart", "--size", "smoke", "--no-chat", "--set", "pretrain.loop.steps=6", "--set", "sft.loop.steps=4"),
    *("--set", "reward.loop.steps=3", "--set", "rl.loop.steps=2", "--set", "evaluate.limit=2"),
)
VOLATILE = ("metrics.jsonl", "state.pt", "sums.json", "picked.json", "report.json", "report.html", ".lock", *RECORDS)
"""Files that hold times, which differ from run to run."""


def cut(file: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def flip(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def empty(file: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def delete(file: Path, rng: random.Random) -> None:
    file.unlink()


def folder_instead(file: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (cut, flip, empty, delete, folder_instead)


def artefacts(run: Path) -> list[Path]:
    """The files of a run that can be damaged: results of its stages, and records."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in files if path.name != ".lock" and path.stat().st_size and "before" not in path.parts]


def contents(run: Path) -> dict[str, str]:
    """Digests of the files that a second run of the same command would make again, byte for byte."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in artefacts(run)
        if path.name not in VOLATILE
    }


def told(*command: str) -> tuple[int, str]:
    """Exit code of a command, and what it said; a traceback of ours is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = jielong(command)
    return code, said.getvalue()


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """Every file by two kinds that are drawn for it; in short, six files by one."""
    rng = random.Random(seed)
    runs = folder / "runs"
    told(*COMMAND, "--runs", str(runs))
    (run,) = runs.iterdir()
    shutil.copytree(run, folder / "whole")
    whole = contents(run)
    files = artefacts(run)
    tries = [(file, kind) for file in files for kind in rng.sample(KINDS, 1 if short else 2)]
    if short:
        tries = rng.sample(tries, 6)
    found: Counter[str] = Counter()
    for file, kind in tries:
        shutil.rmtree(run)
        shutil.copytree(folder / "whole", run)
        kind(file, rng)
        found += Counter(_outcome(run, runs, file, kind.__name__, whole))
    count = len(tries)
    for outcome in ("seen by check", "named", "healed", "rest kept"):
        yield Row(
            f"damaged files: {outcome}", f"{count} of {count}", found[outcome], found[outcome] == count, seeds=(seed,)
        )


def _outcome(run: Path, runs: Path, file: Path, kind: str, whole: dict[str, str]) -> list[str]:
    """Which promises were kept for one damaged file; those that were not are printed."""
    name = file.relative_to(run)
    is_record = file.name in RECORDS
    checked = told("check", str(run))
    code, said = told(*COMMAND, "--runs", str(runs))
    begun = [line for line in said.splitlines() if line.endswith(": begins")]
    joined = "".join(said.split())
    kept = {
        "seen by check": is_record or (checked[0] == 2 and str(name) in checked[1]),
        "named": "".join(str(name).split()) in joined or is_record,
        "healed": code == 0 and contents(run) == whole and told("check", str(run))[0] == 0,
        "rest kept": len(begun) <= (0 if is_record else 1),
    }
    for promise, was_kept in kept.items():
        if not was_kept:
            print(f"{kind} of {name}: not {promise} (exit {code}; begun: {', '.join(begun) or 'nothing'})", flush=True)
    return [promise for promise, was_kept in kept.items() if was_kept]

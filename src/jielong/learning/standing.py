"""The promoted model of a base: all promotions in their order, and those that were undone.

`standing.json` lies beside the attempts of a base. A promotion is written there once for each attempt, so a decision
that is made again after a kill changes nothing; and one that was undone stays undone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields
from jielong.runs import disk_errors, read_json, write_json

FILE = "standing.json"
VERSION = 1


@dataclass(frozen=True)
class Promotion:
    """The promotion of an attempt's model in place of the one before; `undone_at` is 0 while it counts."""

    attempt: str
    at: float
    undone_at: float = 0.0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder against changes by other processes for a moment."""
    from filelock import FileLock

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".changing"):
            yield


def promotions(home: Path) -> list[Promotion]:
    """Return all promotions of the base whose attempts lie in `home`, the oldest first. Raises CheckpointError for a
    damaged file.
    """
    path = home / FILE
    if not path.exists():
        return []
    try:
        fields = Fields(read_json(path), str(path))
        if fields.whole("version") != VERSION:
            raise CheckpointError(f"{path} has another version of the format; this jielong reads version {VERSION}")
        return [
            Promotion(one.text("attempt"), one.number("at"), one.number("undone_at", 0.0))
            for one in fields.inners("promotions")
        ]
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore a copy of this one file") from error


def standing(home: Path) -> str:
    """Return the attempt whose model is promoted, or "" for the base itself."""
    return next((p.attempt for p in reversed(promotions(home)) if not p.undone_at), "")


def promote(home: Path, attempt: str) -> bool:
    """Promote the model of an attempt; return whether it was not promoted before."""
    with held(home):
        known = promotions(home)
        if any(p.attempt == attempt for p in known):
            return False
        _write(home, [*known, Promotion(attempt, time.time())])
    return True


def undo(home: Path) -> Promotion:
    """Undo the last promotion that counts, and return it. Raises DataError if there is none."""
    with held(home):
        known = promotions(home)
        last = next((i for i in reversed(range(len(known))) if not known[i].undone_at), None)
        if last is None:
            raise DataError("there is nothing to undo: the base itself stands")
        gone = Promotion(known[last].attempt, known[last].at, time.time())
        _write(home, [*known[:last], gone, *known[last + 1 :]])
    return gone


def _write(home: Path, known: list[Promotion]) -> None:
    rows: list[dict[str, Any]] = [{"attempt": p.attempt, "at": p.at, "undone_at": p.undone_at} for p in known]
    write_json(home / FILE, {"version": VERSION, "promotions": rows})

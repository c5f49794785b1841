"""The status of attempts as JSON for the page and the command line, read from their files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jielong.learning import asking, pressing, standing
from jielong.learning import attempt as attempts
from jielong.learning.advice import plan
from jielong.learning.attempt import Attempt
from jielong.learning.child import LOG
from jielong.learning.judged import sort_judgements
from jielong.learning.reasons import NotEnough, Reason, from_json, say, told_of
from jielong.records import Judgement

_BEGINS_S = 20.0
"""A child that was started this long ago may be on its way to its first sign of life, on a machine that is busy."""


def supply_json(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the supply of judgements: whether it is enough, and the method by which it would be learned, or why not."""
    judged = sort_judgements(judgements)
    try:
        found = plan(judged)
    except NotEnough as error:
        return {"counts": judged.counts(), "is_enough": False, "method": None, **_advice([error.reason])}
    prompts = {side: len(getattr(found, side).prompts) for side in ("policy", "held_out")}
    enough = Reason.of("enough", method=found.method, **prompts)
    return {
        "counts": judged.counts(),
        "is_enough": True,
        "method": found.method,
        **_advice([enough, *found.notes]),
    }


def _advice(reasons: Sequence[Reason]) -> dict[str, Any]:
    told = told_of(reasons)
    return {"advice": told["en"], "advice_told": told}


def attempts_json(home: Path, base: str) -> dict[str, Any]:
    """Return the promoted model of a base, the newest attempt, and all attempts, the newest first."""
    folders = attempts.attempts(home)
    current = standing.standing(home)
    undone = {p.attempt for p in standing.promotions(home) if p.undone_at}
    return {
        "base": base,
        "standing": _standing_json(home, current) if current else None,
        "attempt": attempt_json(folders[-1]) if folders else None,
        "history": [
            {**_head(attempts.read(folder)), "is_undone": folder.name in undone} for folder in reversed(folders)
        ],
    }


def learned_name(base: str) -> str:
    """Return a server's name for the promoted model of a base."""
    return f"{base}-learned"


def attempt_json(folder: Path) -> dict[str, Any]:
    """Return an attempt with its progress."""
    attempt = attempts.read(folder)
    is_at_work = attempt.state in attempts.AT_WORK
    progress = attempts.progress_of(folder) if is_at_work else {"progress": 1.0, "eta_s": None, "note": ""}
    return {
        **_head(attempt),
        "is_paused": is_at_work and (attempt.is_paused or not _is_alive(folder, attempt)),
        **progress,
        "memory_bytes": attempt.memory_bytes,
        "figures": flatten_figures(attempt.figures),
        "pairs": asking.pairs_json(folder, attempt),
    }


def flatten_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten figures into one object of numbers and strings; a fault is told as "0.5% -> 3.0%"."""
    found: dict[str, Any] = {}
    for part, values in figures.items():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, bool | int | float | str):
                found[f"{part}_{name}"] = value
            elif isinstance(value, Mapping):
                found[f"{part}_{name}"] = say(from_json(value), "en")
            elif name == "faults":
                found |= {f"{f['name']}": f"{f['before']:.1%} -> {f['after']:.1%}" for f in value}
            else:
                found[f"{part}_{name}"] = " -> ".join(map(str, value))
    return found


def _standing_json(home: Path, id: str) -> dict[str, Any]:
    """Describe the promoted model and its lineage."""
    attempt = attempts.read(home / id)
    lineage = {**attempt.lineage, "ids": len(attempt.lineage.get("ids", ()))}
    name = learned_name(attempt.base)
    return {"attempt": id, "name": name, "method": attempt.method, "at": attempt.ended, "lineage": lineage}


def _is_alive(folder: Path, attempt: Attempt) -> bool:
    log = folder / LOG
    began = max(attempt.started, log.stat().st_mtime if log.exists() else 0.0)
    return pressing.is_at_work(folder) or time.time() - began < _BEGINS_S


def _head(attempt: Attempt) -> dict[str, Any]:
    names = ("id", "state", "method", "base", "started", "ended", "why", "against")
    told = told_of([attempt.reason] if attempt.reason else [])
    return {**{name: getattr(attempt, name) for name in names}, "why_told": told}

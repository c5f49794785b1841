"""Judgements for tests of learning, by scripted voters who know which of two kinds of answers they want."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jielong.learning import attempt as attempts
from jielong.learning import status
from jielong.records import Demonstration, Judgement, Message, Preference, Rating, Vote


def said(role: str, text: str) -> tuple[Message, ...]:
    return (Message(role, text),)


def question(number: int) -> tuple[Message, ...]:
    return said("user", f"What is the capital of Peru? {number}")


def pair(number: int, better: str, worse: str, *, by: str = "anna", at: float = 0.0, left: int = -1) -> Preference:
    """A pair; `left` says whether the better answer was on the left, of a blind one."""
    vote = Vote(f"{by}-{number}-{at}", at or 1000.0 + number, left >= 0, left)
    return Preference(question(number), said("assistant", better), said("assistant", worse), by=by, vote=vote)


def thumb(number: int, answer: str, score: float, *, by: str = "anna", at: float = 0.0) -> Rating:
    return Rating(question(number), said("assistant", answer), score, by, vote=Vote(at=at or 1000.0 + number))


def written(number: int, answer: str, instead_of: str = "") -> Demonstration:
    rejected = said("assistant", instead_of) if instead_of else ()
    return Demonstration(question(number), said("assistant", answer), rejected, "anna", Vote(at=1000.0 + number))


def pairs(count: int, seed: int = 0) -> list[Judgement]:
    """Blind pairs of a voter who wants English sentences, with sides at random."""
    dice = random.Random(seed)
    return [pair(n, f"The capital is Lima {n}.", f"0123456789 {n} 秘鲁", left=dice.randint(0, 1)) for n in range(count)]


def until_over(folder: Path, limit_s: float = 900.0) -> dict[str, Any]:
    """Wait until an attempt needs no child any more; the attempt as it is told."""
    until_s = time.monotonic() + limit_s
    while (told := status.attempt_json(folder))["state"] in attempts.AT_WORK:
        if time.monotonic() > until_s:
            raise RuntimeError(f"the attempt does not end: {told}")
        time.sleep(0.2)
    return told


def child(folder: Path) -> subprocess.Popen[bytes]:
    """A child at the attempt, whose end can be waited for."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "jielong.learning.child", str(folder)], stdout=log, stderr=log)

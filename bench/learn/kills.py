"""An attempt whose child is killed at random moments, and whose voter is: the same adapter bit for bit, and one promotion."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.serving import tiny_model

from bench.learn.setting import Setting
from bench.learn.voters import POLL_S, pairs_of
from bench.rows import Row
from jielong.learning import asking, pressing, standing, status
from jielong.learning import attempt as attempts

VOTER = """
import sys
from pathlib import Path
from jielong.learning import asking, attempt
folder = Path(sys.argv[1])
while (found := asking.next_pair(folder)) is not None:
    n, pair = found
    asking.vote(folder.parent, folder, n, "left" if pair.is_candidate_left else "right")
asking.settle(folder.parent, folder)
"""
"""Somebody who takes the candidate's answer each time."""


def killed(command: Sequence[str], dice: random.Random, longest_s: float) -> None:
    """Start a process, and kill it at a random moment unless it has ended by itself."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(dice.uniform(0.2, longest_s))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until_asked(folder: Path) -> str:
    """Wait for the end of the child's work; the state then."""
    while (state := status.attempt_json(folder)["state"]) in attempts.AT_WORK:
        time.sleep(POLL_S)
    return str(state)


def digest_of(folder: Path) -> str:
    """SHA-256 of the adapter's files."""
    files = sorted((folder / attempts.ADAPTER).iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of one attempt that is killed, beside one that is not."""
    by = "" if setting.method == "auto" else f", by {setting.method}"
    tiny = tiny_model(setting.folder / "tiny")
    judgements = pairs_of(lambda n: (n * 7) % 10 < 6)
    begun_s = time.monotonic()
    whole = pressing.press(setting.folder / "whole", "tiny", tiny, judgements, method=setting.method)
    state = until_asked(whole)
    whole_s = time.monotonic() - begun_s
    begun = dataclasses.replace(attempts.read(whole), state="training", press=0, figures={}, id="0001-killed")
    folder = attempts.begin(setting.folder / "killed", begun, judgements)
    dice = random.Random(0)
    for _ in range(setting.kills):
        killed([sys.executable, "-m", "jielong.learning.child", str(folder)], dice, whole_s)
    pressing.resume(folder)
    again = until_asked(folder)
    same = state == again and digest_of(folder) == digest_of(whole)
    yield Row(
        f"adapter after {setting.kills} kills of the child{by}",
        "the same bit for bit",
        "the same" if same else "another",
        same,
    )
    for _ in range(setting.kills if again == "asking" else 0):
        killed([sys.executable, "-c", VOTER, str(folder)], dice, 3.0)
    if again == "asking":
        subprocess.run([sys.executable, "-c", VOTER, str(folder)], check=True)
    promotions = len(standing.promotions(folder.parent))
    told = f"{promotions} ({attempts.read(folder).state}, {len(asking.votes_of(folder))} votes)"
    yield Row(f"promotions after {setting.kills} kills of the voter{by}", "1", told, promotions == 1)

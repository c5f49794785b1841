"""Blind pairs for a person: prepared when the gate was passed, asked in their order, with one line for each vote.

`pairs.jsonl` records the candidate's side of each pair, and is never shown to a voter. A vote is on disk when `vote`
returns. The decision follows from the two files alone, so it is made again after a kill, and comes out the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError, NotFoundError
from jielong.evaluate.votes import Texts
from jielong.learning import attempt as attempts
from jielong.learning import standing
from jielong.learning.attempt import Attempt
from jielong.learning.deciding import LEAST, MOST, Tally, alpha_of, evidence, verdict
from jielong.learning.reasons import Reason
from jielong.records import OUTCOMES, Message, to_dict
from jielong.runs import canonical_json, disk_errors, write_text

PAIRS, VOTES = "pairs.jsonl", "votes.jsonl"


@dataclass(frozen=True)
class ShownPair:
    """Two answers to one prompt, and whether the candidate's is on the left."""

    prompt: Texts
    candidate: str
    stands: str
    is_candidate_left: bool

    @property
    def left(self) -> str:
        return self.candidate if self.is_candidate_left else self.stands

    @property
    def right(self) -> str:
        return self.stands if self.is_candidate_left else self.candidate


def write_pairs(folder: Path, pairs: list[ShownPair]) -> None:
    """Store the pairs, before anybody is asked."""
    write_text(folder / PAIRS, "".join(canonical_json(to_dict(p)) + "\n" for p in pairs))


def pairs_of(folder: Path) -> list[ShownPair]:
    """Return the pairs of an attempt, in the order in which they are asked; none before they are prepared."""
    rows = _rows(folder / PAIRS)
    try:
        return [
            ShownPair(tuple(map(Message.from_dict, r["prompt"])), r["candidate"], r["stands"], r["is_candidate_left"])
            for r in rows
        ]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / PAIRS} is damaged ({error}); cancel this attempt") from error


def votes_of(folder: Path) -> dict[int, str]:
    """Return the number of a pair -> its outcome; the first vote on a pair counts."""
    found: dict[int, str] = {}
    for row in _rows(folder / VOTES):
        if isinstance(row.get("n"), int) and row.get("outcome") in OUTCOMES:
            found.setdefault(row["n"], row["outcome"])
    return found


def next_pair(folder: Path) -> tuple[int, ShownPair] | None:
    """Return the first pair without a vote, while more votes are needed."""
    if attempts.read(folder).state != "asking":
        return None
    votes = votes_of(folder)
    return next(((n, pair) for n, pair in enumerate(pairs_of(folder)) if n not in votes), None)


def vote(home: Path, folder: Path, n: int, outcome: str, by: str = "", at: float = 0.0) -> Attempt:
    """Store a vote, decide the attempt if that is possible, and return it. A pair that has a vote keeps it."""
    if outcome not in OUTCOMES:
        raise ConfigError(f"the outcome is {outcome!r}; expected one of {', '.join(OUTCOMES)}")
    attempt = attempts.read(folder)
    if attempt.state != "asking":
        raise ConfigError(f"attempt {attempt.id} is {attempt.state} and asks nobody now")
    num_pairs = len(pairs_of(folder))
    if not 0 <= n < num_pairs:
        raise NotFoundError(f"there is no pair {n}; this attempt has {num_pairs}")
    with standing.held(folder):
        if n not in votes_of(folder):
            _append(folder / VOTES, {"n": n, "outcome": outcome, "by": by, "at": at})
    return settle(home, folder)


def tally_of(folder: Path) -> Tally:
    """Count the votes from the candidate's side."""
    pairs, votes = pairs_of(folder), votes_of(folder)
    won = lost = tied = 0
    for n, outcome in votes.items():
        if outcome in ("tie", "bad"):
            tied += 1
        elif (outcome == "left") == pairs[n].is_candidate_left:
            won += 1
        else:
            lost += 1
    return Tally(won, lost, tied)


def settle(home: Path, folder: Path) -> Attempt:
    """Decide an attempt in blind comparison, if its votes suffice. Deciding twice promotes once."""
    attempt = attempts.read(folder)
    if attempt.state != "asking":
        return attempt
    tally, alpha = tally_of(folder), alpha_of(attempt.press)
    told = verdict(tally, alpha, len(pairs_of(folder)))
    if not told:
        return attempt
    found = evidence(tally.won, tally.lost)
    asked = {**dataclasses.asdict(tally), "alpha": alpha, "evidence": found, "needed": 1 / alpha}
    figures = {**attempt.figures, "asking": asked}
    if told == "promoted":
        standing.promote(home, attempt.id)  # first: who reads "promoted" finds it standing
    return attempts.change(
        folder, only_in=("asking",), state=told, reason=_reason(told, tally, found, alpha), figures=figures
    )


def press_of(home: Path, against: str) -> int:
    """Return which press this is against the promoted model: one more than the earlier attempts that got a vote."""
    earlier = (folder for folder in attempts.attempts(home) if attempts.read(folder).against == against)
    return 1 + sum(bool(votes_of(folder)) for folder in earlier)


def pairs_json(folder: Path, attempt: Attempt) -> dict[str, int | None]:
    """Return the progress of the blind comparison. The tally is included only at the end, since a tally after each vote
    would reveal the candidate's side.
    """
    num_pairs = len(pairs_of(folder))
    tally = tally_of(folder) if num_pairs else Tally()
    most = min(MOST, num_pairs) if num_pairs else MOST
    is_over = attempt.state not in attempts.OPEN
    hidden = {"won": None, "lost": None, "tied": tally.tied}
    return {
        "asked": tally.num_asked,
        "least": LEAST,
        "most": most,
        **(dataclasses.asdict(tally) if is_over else hidden),
    }


def _reason(told: str, tally: Tally, found: float, alpha: float) -> Reason:
    """Return the reason of the decision: its votes and evidence."""
    decided = tally.won + tally.lost
    share = Reason.of("votes", won=tally.won, decided=decided) if decided else Reason("no_votes")
    values = {"share": share, "evidence": found, "needed": 1 / alpha}
    if told == "promoted":
        return Reason("better", {**values, "alpha": alpha})
    return Reason("not_better", {**values, "tied": tally.tied})


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file; a last one that a kill cut off is dropped."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; it begins with a newline if a kill cut the line before."""
    with disk_errors(path), path.open("ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
        file.write((canonical_json(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())

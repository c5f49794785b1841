"""An attempt to learn: a folder RUNS/learned/BASE/ATTEMPT with its whole state, for any process to read.

`attempt.json` holds its state (`STATES`), `judgements.jsonl` exactly the judgements that it was begun with, `training/`
the run. Every change of it happens under a lock and is written aside and renamed, so a kill leaves the state before or
after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.learning.reasons import Reason, from_json, say
from jielong.learning.standing import held
from jielong.outside import Fields
from jielong.records import Judgement, judgement_from, judgement_to
from jielong.runs import canonical_json, read_json, run_around, write_json, write_text

STATES = ("training", "comparing", "asking", "promoted", "refused", "cancelled", "failed")
AT_WORK = ("training", "comparing")
"""States in which a child has something to do."""
OPEN = (*AT_WORK, "asking")
"""States that are not the last one."""

FOLDER, FILE, JUDGEMENTS, PROGRESS = "learned", "attempt.json", "judgements.jsonl", "progress.json"
ADAPTER = "adapter"
"""The folder of the candidate as it was compared, in the attempt's."""
VERSION = 1


@dataclass(frozen=True)
class Attempt:
    """The content of `attempt.json`."""

    id: str
    base: str
    """The model's name, as it was given."""
    base_path: str
    """Its folder."""
    method: str
    """The trainings in their order, such as "sft+dpo"."""
    asked_method: str
    started: float
    state: str = "training"
    is_paused: bool = False
    against: str = ""
    """The attempt whose model stood when this one was begun; "" for the base."""
    press: int = 0
    """Which of the presses against that model this is, once a person is asked; 0 before."""
    memory_bytes: int = 0
    reason: Reason | None = None
    """The reason of its end."""
    ended: float = 0.0
    figures: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def why(self) -> str:
        """Say in English why it ended as it did; "" before."""
        return say(self.reason, "en") if self.reason else ""


def home_of(runs: Path, base_path: Path) -> Path:
    """Return the folder of all attempts of the model in `base_path`, named after its run and stage, or its folder.

    A digest of the model's path is part of the name, since other models may have the same name.
    """
    path, run = base_path.resolve(), run_around(base_path)
    name = path.name if run is None else "-".join((run.path.name, *path.relative_to(run.path.resolve()).parts[:1]))
    where = hashlib.blake2b(str(path).encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    plain = re.sub(r"[^\w.-]+", "-", name)[:100].strip("-.") or "model"
    return runs / FOLDER / f"{plain}-{where}"


def begin(home: Path, attempt: Attempt, judgements: Sequence[Judgement]) -> Path:
    """Write a new attempt, the judgements first; return its folder. Raises ConfigError while another one of the base is
    open.
    """
    with held(home):
        for folder in attempts(home):
            if read(folder).state in OPEN:
                raise ConfigError(f"attempt {folder.name} of {attempt.base} is still open; finish or cancel it first")
        folder = home / attempt.id
        lines = (canonical_json(judgement_to(one)) + "\n" for one in judgements)
        write_text(folder / JUDGEMENTS, "".join(lines))
        _write(folder, attempt)
    return folder


def new_id(home: Path) -> str:
    """Make a name for the next attempt; names sort as attempts were made."""
    return f"{len(list(home.glob('[0-9]*'))) + 1:04d}-{time.strftime('%Y%m%d-%H%M%S')}"


def attempts(home: Path) -> list[Path]:
    """List the folders of all attempts of a base, the oldest first."""
    return sorted(path.parent for path in home.glob(f"[0-9]*/{FILE}"))


def newest(home: Path) -> Path | None:
    return next(reversed(attempts(home)), None)


def read(folder: Path) -> Attempt:
    """Read the attempt in a folder. Raises CheckpointError if its file is missing or damaged."""
    path = folder / FILE
    try:
        known = Fields(read_json(path), str(path))
        if known.whole("version") != VERSION:
            raise CheckpointError(f"{path} has another version of the format; this jielong reads version {VERSION}")
        state = known.text("state")
        if state not in STATES:
            raise DataError(f"'state' is {state!r}; expected one of {', '.join(STATES)}")
        texts = {n: known.text(n) for n in ("id", "base", "base_path", "method", "asked_method")}
        return Attempt(
            **texts,
            started=known.number("started"),
            state=state,
            is_paused=known.flag("is_paused", False),
            against=known.text("against", ""),
            press=known.whole("press", 0),
            memory_bytes=known.whole("memory_bytes", 0),
            reason=_reason_in(known),
            ended=known.number("ended", 0.0),
            figures=known.inner("figures", {}).data,
            lineage=known.inner("lineage", {}).data,
            seed=known.whole("seed", 0),
        )
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore a copy of this one file") from error


def change(folder: Path, *, only_in: Sequence[str] = STATES, **fields: Any) -> Attempt:
    """Set fields of an attempt if its state is one of `only_in`, and the end time if it has ended; return the
    attempt, changed or not.
    """
    with held(folder):
        attempt = read(folder)
        if attempt.state not in only_in:
            return attempt
        if fields.get("state", attempt.state) not in OPEN and not attempt.ended:
            fields["ended"] = time.time()
        attempt = dataclasses.replace(attempt, **fields)
        _write(folder, attempt)
    return attempt


def add_figures(folder: Path, **figures: Any) -> Attempt:
    """Set some of the figures, and keep the others."""
    return change(folder, figures={**read(folder).figures, **figures})


def judgements_of(folder: Path) -> list[Judgement]:
    """Read the judgements that an attempt was begun with."""
    path = folder / JUDGEMENTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [judgement_from(json.loads(line)) for line in lines]
    except (OSError, ValueError, DataError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); cancel this attempt and begin another") from error


def report(folder: Path, progress: float, eta_s: float | None, note: str = "") -> None:
    """Store the progress of an attempt's work, from 0 to 1."""
    write_json(folder / PROGRESS, {"progress": round(progress, 4), "eta_s": eta_s, "note": note})


def progress_of(folder: Path) -> dict[str, Any]:
    """Return the last stored progress."""
    with contextlib.suppress(CheckpointError, DataError):
        known = Fields(read_json(folder / PROGRESS), "progress")
        eta_s = known.number("eta_s", None)
        return {"progress": known.number("progress"), "eta_s": eta_s, "note": known.text("note", "")}
    return {"progress": 0.0, "eta_s": None, "note": ""}


def _write(folder: Path, attempt: Attempt) -> None:
    write_json(folder / FILE, {"version": VERSION, **dataclasses.asdict(attempt), "why": attempt.why})


def _reason_in(known: Fields) -> Reason | None:
    """Read the reason of an attempt's end; earlier versions stored its English sentence alone."""
    stored = known.data.get("reason") or known.text("why", "")
    return from_json(stored) if stored else None

"""One run's directory: its stages, their records, and how results change places without being lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError
from jielong.runs.records import (
    FORMAT_VERSION,
    RECORD,
    entry_of,
    is_entry,
    own_records,
    read_record,
    run_from_stage_records,
    write_record,
)
from jielong.runs.sums import damage, sealed, sums_of
from jielong.runs.watching import load_average
from jielong.runs.writing import disk_errors, tidy, write_directory, write_json

BEFORE = "before"
"""The folder of a run in which finished results lie that another setting has replaced, and what was damaged."""


class Run:
    """One run's directory: stages, their fingerprints, and run.json.

    The record of a stage is kept twice: in its own folder (record.json), which moves with it and is believed first, and
    in run.json, which adds what is true of the whole run. Either can be rebuilt from the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _file(self) -> Path:
        return self.path / "run.json"

    @property
    def record(self) -> dict[str, Any]:
        """Return the whole record: recipe, size, seed, resolved config, machine, and stages with fingerprint, parents
        and checksums.

        Raises CheckpointError if run.json is damaged and no stage has a record, or if it is of another version.
        """
        kept, own = self._read_run_json(), own_records(self.path)
        if kept is None:
            kept = run_from_stage_records(own)
            if self._file.exists() and not own:
                raise CheckpointError(
                    f"{self._file} is damaged, and no stage beside it has a {RECORD} to make it anew from; restore a copy "
                    "of this one file, or begin anew in another folder"
                )
        if kept.get("version") != FORMAT_VERSION:
            raise CheckpointError(
                f"{self._file} has format version {kept.get('version')!r}; this jielong reads version {FORMAT_VERSION}"
            )
        order = kept.get("order")
        if order is None:
            order = [*kept["stages"], *(name for name in own if name not in kept["stages"])]
        known = {**kept["stages"], **{name: entry_of(record) for name, record in own.items()}}
        return {**kept, "stages": {name: known[name] for name in order if name in known}}

    def _read_run_json(self) -> dict[str, Any] | None:
        """Return the content of run.json, or None if it is missing or damaged."""
        record = read_record(self._file)
        if record is None or not isinstance(record.get("stages"), dict):
            return None
        order = record.get("order", [])
        if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
            return None
        if record.get("version") == FORMAT_VERSION and not all(is_entry(*item) for item in record["stages"].items()):
            return None
        return record

    def _has_folders(self) -> bool:
        return any(path.is_dir() and path.name not in (BEFORE, "tune") for path in self.path.iterdir())

    def _write(self, record: Mapping[str, Any], *changed: str) -> None:
        """Write run.json, and before it the records of the changed stages that exist."""
        places = [self.stage_path(stage) for stage in changed if stage in record["stages"]]
        for file in (self._file, *(place / RECORD for place in places)):
            if file.is_dir():
                self._move_aside(file, f"{file.name}-damaged")
        for place in places:
            if place.is_dir():
                write_record(place, record, record["stages"][place.name])
        write_json(self._file, sealed(record))

    def update(self, **fields: Any) -> None:
        self._write({**self.record, **fields})

    def begin(self, about: Mapping[str, Any], stages: Sequence[str], machine: Mapping[str, Any]) -> list[str]:
        """Clear up after a kill, and record what is about to run, of which stages, and on what machine.

        Stages that the recipe no longer has are forgotten; their folders stay. Returns notes for the user.
        """
        tidy(self.path)
        notes = []
        if self._read_run_json() is None and (self._file.exists() or own_records(self.path)):
            what = "was missing"
            if self._file.exists():
                if self._has_folders():
                    _ = self.record  # raises where there is nothing to make it from
                what = f"was damaged (kept as {self._move_aside(self._file, 'run.json-damaged')})"
            names = ", ".join(self.record["stages"]) or "no stage"
            notes.append(f"{self._file} {what} and was made anew from the records of {names}")
        record = self.record
        known = {name: record["stages"][name] for name in stages if name in record["stages"]}
        record |= {"version": FORMAT_VERSION, **about, "order": list(stages), "stages": known}
        record |= {"machine": dict(machine), "load_at_start": load_average()}
        self._write(record, *known)
        unchecked = [name for name, entry in known.items() if "done" in entry and "files" not in entry]
        if unchecked:
            notes.append(f"made before results had sums, and not checked: {', '.join(unchecked)}")
        return notes

    def rename_fingerprints(self, new: Mapping[str, str]) -> None:
        """Replace the fingerprints of stages, if an earlier version counted something that this one does not."""
        record = self.record
        stages = record["stages"]
        names = {
            mark for entry in stages.values() for mark in (entry.get("fingerprint"), *entry.get("parents", {}).values())
        }
        if all(new.get(mark, mark) == mark for mark in names if mark):
            return
        for entry in stages.values():
            for key in ("fingerprint", "done"):
                if key in entry:
                    entry[key] = new.get(entry[key], entry[key])
            entry["parents"] = {name: new.get(mark, mark) for name, mark in entry.get("parents", {}).items()}
        self._write(record, *stages)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run against other processes while inside. Raises ConfigError if one is at it. A kill frees the
        lock.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            with disk_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0.5)  # who only looks whether it is at work holds it for a moment
        except Timeout:
            raise ConfigError(
                f"{self.path} is at work in another process; wait for it, or choose another --runs folder or --seed"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def is_at_work(self) -> bool:
        """Whether a process has locked this run now."""
        try:
            with self.alone():
                return False
        except ConfigError:
            return True

    # Results -------------------------------------------------------------------------------------------------------

    def stage_path(self, stage: str) -> Path:
        return self.path / stage

    def checkpoint(self, stage: str) -> Path:
        """Return the model directory that a finished training stage ended with."""
        name = self.record["stages"][stage]["summary"]["checkpoint"]
        return self.stage_path(stage) / "steps" / name / "model"

    def models(self) -> dict[str, Path]:
        """Return stage -> the model folder that it ended with, in the recipe's order.

        A stage that is being made again has the model that was set aside last.
        """
        record, found = self.record, {}
        for stage in record.get("order", record["stages"]):
            model = model_of(self.stage_path(stage), record["stages"].get(stage, {}))
            if model is None:
                aside = (model_of(folder, entry) for folder, entry in self._set_aside_of(stage))
                model = next(filter(None, aside), None)
            if model is not None:
                found[stage] = model
        return found

    def _set_aside_of(self, stage: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return the finished results of the stage in before/, the last first, each with its record."""
        files = sorted(self.path.glob(f"{BEFORE}/*/{RECORD}"), key=lambda file: file.stat().st_mtime, reverse=True)
        entries = [(file.parent, read_record(file) or {}) for file in files]
        return [
            (folder, entry)
            for folder, entry in entries
            if is_entry(stage, entry) and "done" in entry and folder == self._aside(stage, entry["done"])
        ]

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage has ended under this fingerprint and its result is still there."""
        entry = self.record["stages"].get(stage, {})
        if entry.get("done") != fingerprint or not self.stage_path(stage).is_dir():
            return False
        if not all((self.path / name).exists() for name in entry["summary"].get("outputs", [])):
            return False
        checkpoint = entry["summary"].get("checkpoint")
        return checkpoint is None or (self.stage_path(stage) / "steps" / checkpoint / "model").is_dir()

    def damage(
        self,
        stage: str,
        entry: Mapping[str, Any] | None = None,
        *,
        only_small: bool = False,
        below: Path | None = None,
    ) -> dict[Path, str]:
        """Find files of a finished stage that have changed since it ended, each with a phrase for what happened.

        `entry` is the stage's in `record`, for callers that have read it. `below` restricts the search to a folder;
        `only_small` skips the contents of large files.
        """
        entry = entry or self.record["stages"][stage]
        found: dict[Path, str] = {}
        for folder, kind in ((self.stage_path(stage), "files"), (self.path, "output_files")):
            sums = entry.get(kind, {})
            if below is not None:
                sums = {name: known for name, known in sums.items() if below in (folder.absolute() / name).parents}
            wrong = damage(folder, sums, only_small=only_small)
            found |= {folder / name: what for name, what in wrong.items()}
        return found

    def _aside(self, stage: str, fingerprint: str) -> Path:
        """Return the place for a finished result while another result of the same stage is in its place."""
        return self.path / BEFORE / f"{stage}-{fingerprint[:8]}"

    def _move_aside(self, path: Path | None, name: str) -> Path:
        """Move an unknown or damaged path to a free name in before/; without a path, return a new folder there."""
        places = (self.path / BEFORE / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
        place = next(place for place in places if not os.path.lexists(place))
        place.parent.mkdir(exist_ok=True)
        if path is None:
            place.mkdir()
        else:
            path.rename(place)
        return place

    def take_back(self, stage: str, fingerprint: str) -> None:
        """Put a result that was set aside back into its place, unless it also wrote into the run's folder (a report).

        A result that was damaged there stays where it is.
        """
        aside = self._aside(stage, fingerprint)
        if self.is_done(stage, fingerprint):
            return
        entry = read_record(aside / RECORD)
        if not entry or not is_entry(stage, entry) or entry.get("done") != fingerprint:
            return
        if entry["summary"].get("outputs") or damage(aside, entry.get("files", {})):
            return
        self._set_aside(stage)
        # a kill before this line: the folder is missing, and is looked for aside the next time
        aside.rename(self.stage_path(stage))
        record = self.record
        record["stages"][stage] = entry_of(entry)
        self._write(record)

    def lay_aside(self, stage: str, entry: Mapping[str, Any], folder: Path) -> None:
        """Copy a stage that another run finished into this run's set-aside results, from which `take_back` can
        restore it. `entry` is the stage's record in that run. Does nothing if the copy exists.
        """
        aside = self._aside(stage, entry["done"])
        if (aside / RECORD).exists():
            return

        def fill(path: Path) -> None:
            shutil.copytree(folder, path, dirs_exist_ok=True)
            write_record(path, self.record, entry)

        write_directory(aside, fill)

    def set_aside_damaged(self, stage: str) -> Path:
        """Move a stage's damaged result, and what it wrote into the run's folder, into before/; return the new place."""
        record, folder = self.record, self.stage_path(stage)
        entry = record["stages"].pop(stage)
        place = self._move_aside(None, f"{stage}-{entry['done'][:8]}-damaged")
        for made in (folder, *(self.path / name for name in entry["summary"].get("outputs", []))):
            if os.path.lexists(made):
                made.rename(place / made.name)
        self._write(record)
        return place

    def reopen(self, stage: str, wrong: Iterable[Path]) -> Path:
        """Move a finished stage's damaged files into before/ and count it as unfinished; return their new place."""
        record = self.record
        entry = record["stages"][stage]
        place = self._move_aside(None, f"{stage}-{entry.pop('done')[:8]}-damaged")
        for path in wrong:
            target = place / path.relative_to(self.stage_path(stage))
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                path.rename(target)
        for key in ("summary", "files"):
            del entry[key]
        self._write(record, stage)
        return place

    def _set_aside(self, stage: str) -> None:
        """Clear the stage's place: keep a finished result under its fingerprint, delete half-done work.

        A folder without a record may hold a result, and is kept too.
        """
        record, folder = self.record, self.stage_path(stage)
        entry = record["stages"].pop(stage, {})
        if entry.get("done") and folder.is_dir():
            write_record(folder, record, entry)
            aside = self._aside(stage, entry["done"])
            aside.parent.mkdir(exist_ok=True)
            if aside.exists():
                shutil.rmtree(aside)
            folder.rename(aside)
        elif not entry and os.path.lexists(folder) and not _is_empty(folder):
            self._move_aside(folder, f"{stage}-unknown")
        # a kill before this line: run.json speaks of a result whose folder is missing, and it is looked for aside
        self._write(record)
        if folder.exists():
            shutil.rmtree(folder)

    # A stage's life ------------------------------------------------------------------------------------------------

    def begin_stage(self, stage: str, fingerprint: str, config: Any, parents: Mapping[str, str]) -> None:
        """Record that a stage is about to run; half-done work stays when it was begun under the same fingerprint.

        A finished result of another fingerprint is set aside in `before/`, so that trying a setting costs no result.
        """
        record = self.record
        before = record["stages"].get(stage, {})
        folder = self.stage_path(stage)
        if before.get("fingerprint") == fingerprint and folder.is_dir():
            tidy(folder)
        else:
            before = {}
            self._set_aside(stage)
            record = self.record
        folder.mkdir(parents=True, exist_ok=True)
        record["stages"][stage] = {
            **before,
            "fingerprint": fingerprint,
            "config": config,
            "parents": dict(parents),
            "seconds": before.get("seconds", 0.0),
        }
        self._write(record, stage)

    def add_costs(self, stage: str, seconds: float, peak_memory_bytes: int) -> None:
        """Add seconds and memory to a stage, over all tries, and with it to the whole run."""
        record = self.record
        entry = record["stages"][stage]
        entry["seconds"] = round(entry.get("seconds", 0.0) + seconds, 2)
        for taken in (entry, record):
            taken["peak_memory_bytes"] = max(taken.get("peak_memory_bytes", 0), peak_memory_bytes)
        record["seconds"] = round(sum(s["seconds"] for s in record["stages"].values()), 2)
        self._write(record, stage)

    def end_stage(self, stage: str, fingerprint: str, summary: Mapping[str, Any]) -> None:
        """Record that the stage has ended, with the checksums of all files that it made."""
        record = self.record
        outputs = summary.get("outputs", [])
        record["stages"][stage] |= {
            "done": fingerprint,
            "summary": dict(summary),
            "files": sums_of(self.stage_path(stage), leave_out=(RECORD,)),
            **({"output_files": sums_of(self.path, *outputs)} if outputs else {}),
        }
        self._write(record, stage)


def model_of(folder: Path, entry: Mapping[str, Any]) -> Path | None:
    """Return the model of the finished stage in a folder, or None if it is unfinished, or has none."""
    if "done" not in entry or "checkpoint" not in entry["summary"] or not folder.is_dir():
        return None
    return folder / "steps" / entry["summary"]["checkpoint"] / "model"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None

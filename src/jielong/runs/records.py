"""Reading, writing and checking the sealed record.json of each stage, and rebuilding a run.json from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, is_name, parse_json
from jielong.runs.sums import sealed, take_sums, unsealed
from jielong.runs.writing import write_json

FORMAT_VERSION = 1
RECORD = "record.json"
"""The file in which a stage's folder says what it is."""

_OF_THE_RUN = ("recipe", "size", "seed", "model", "order", "machine")
"""Fields of run.json that each stage's record repeats."""


def read_record(file: Path) -> dict[str, Any] | None:
    """Read a sealed record. Returns None if it is missing or damaged."""
    try:
        return unsealed(parse_json(file.read_text(encoding="utf-8"), nan=True))
    except (OSError, DataError, UnicodeDecodeError):
        return None


def write_record(folder: Path, run: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    """Write a stage's entry into its folder, with the fields that are true of its run."""
    about = {name: run[name] for name in _OF_THE_RUN if name in run}
    write_json(folder / RECORD, sealed({"run": about, **entry}))


def own_records(path: Path) -> dict[str, dict[str, Any]]:
    """Return stage -> the record in its folder, of all stages below a run's folder that have a whole one."""
    found = {file.parent.name: read_record(file) for file in sorted(path.glob(f"*/{RECORD}"))}
    return {name: data for name, data in found.items() if data and "run" in data and is_entry(name, data)}


def entry_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage's record without the fields about its run."""
    return {key: value for key, value in record.items() if key != "run"}


def run_from_stage_records(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Build a run.json without stages, from what the stages' records say of their run."""
    about: dict[str, Any] = next((record["run"] for record in records.values() if isinstance(record["run"], dict)), {})
    return {"version": FORMAT_VERSION, **about, "stages": {}, "seconds": 0.0}


def is_entry(name: str, data: Any) -> bool:
    """Whether this is a valid stage name with a valid record."""
    try:
        _check_stage(name, data)
    except CheckpointError:
        return False
    return True


def _check_stage(name: str, data: Any) -> None:
    """Raise CheckpointError if a stage's name or the fields of its record are not of their kinds."""
    entry = Fields(data, name, CheckpointError)
    if not is_name(name):
        raise CheckpointError(f"a stage is called {name!r}")
    entry.text("fingerprint")
    entry.number("seconds", low=0.0)
    entry.whole("peak_memory_bytes", 0)
    parents = entry.inner("parents")
    for parent in parents.data:
        parents.text(parent)
    for kind in ("files", "output_files"):
        take_sums(entry, kind)
    if entry.text("done", "") or "summary" in entry.data:
        summary = entry.inner("summary")
        for key in ("outputs", "shown"):
            if not all(is_name(part) for name in summary.texts(key, []) for part in name.split("/")):
                summary.wrong(key, "names of files in the run's folder")
        if not is_name(summary.text("checkpoint", "0")):
            summary.wrong("checkpoint", "the name of a folder")

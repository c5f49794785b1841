"""metrics.jsonl, the measurements of training step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, parse_json
from jielong.runs.seeds import canonical_json
from jielong.runs.writing import disk_errors, write_text


class MetricsLog:
    """Writes the metrics.jsonl of one stage, one JSON object a line; on resume, lines after the step are cut away."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [r for r in _readable_lines(path) if r.get("step", 0) <= resume_step]
            write_text(path, "".join(canonical_json(r) + "\n" for r in kept) if resume_step else "")
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record as one line, and flush it."""
        with disk_errors(self.path):
            self._file.write(canonical_json(dict(record)) + "\n")
            self._file.flush()

    def close(self) -> None:
        with disk_errors(self.path):
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read all whole lines of a metrics.jsonl; a last one that a kill cut short is skipped.

    Raises CheckpointError for a damaged line: not an object of numbers by name, with an integer step.
    """
    records = []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            records.append(_parse_line(line))
        except (DataError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path}:{number} is damaged ({error}); delete the line") from error
    return records


def _readable_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the readable lines of a log that is to be continued: it is for people, and training does not depend on it."""
    for line in _whole_lines(path):
        with suppress(DataError, UnicodeDecodeError):
            yield _parse_line(line)


def _whole_lines(path: Path) -> list[bytes]:
    whole = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
    return whole.split(b"\n") if whole else []


def _parse_line(line: bytes) -> dict[str, Any]:
    """Parse one line of a metrics.jsonl. Raises DataError if it is no object with an integer step."""
    record = parse_json(line.decode(), nan=True)
    Fields(record, "the line").whole("step", 0)
    return dict(record)

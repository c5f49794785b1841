"""Files that stages write for each other: JSON lines of records, split into learned and held-out parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jielong.data.forms import Record
from jielong.data.splits import Split
from jielong.errors import DataError
from jielong.outside import kind_of
from jielong.records import Conversation, Document, Preference, Rating, to_dict
from jielong.runs import canonical_json, write_text

T = TypeVar("T")


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """Write one record a line; return the number of lines."""
    lines = [canonical_json(to_dict(r)) + "\n" for r in records]
    write_text(path, "".join(lines))
    return len(lines)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file made by an earlier stage. Raises DataError if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    found = json.loads(line.decode())
                except (ValueError, RecursionError) as error:
                    raise _damaged(path, number, error) from error
                if not isinstance(found, dict):
                    raise _damaged(path, number, f"it holds {kind_of(found)}, no object")
                yield found
    except FileNotFoundError:
        raise DataError(f"{path} is missing; delete {path.parent} and run again") from None


def _damaged(path: Path, line: int, why: object) -> DataError:
    return DataError(f"{path}:{line}: damaged ({why}); delete {path.parent} and run again")


def _read_records(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Read and parse all records of a file of an earlier stage."""
    found = []
    for number, data in enumerate(read_jsonl(path), start=1):
        try:
            found.append(parse(data))
        except DataError as error:
            raise _damaged(path, number, error) from error
    return found


def read_documents(path: Path) -> list[Document]:
    return _read_records(path, Document.from_dict)


def read_conversations(path: Path) -> list[Conversation]:
    return _read_records(path, Conversation.from_dict)


def read_preferences(path: Path) -> list[Preference]:
    return _read_records(path, Preference.from_dict)


def read_ratings(path: Path) -> list[Rating]:
    return _read_records(path, Rating.from_dict)


def write_parts(directory: Path, name: str, parts: Split[Record]) -> dict[str, Any]:
    """Write the learned part under `name` ("chats", "preferences" or "ratings") and the held-out part; return the
    stage's summary of it.
    """
    return {
        "holds": name,
        name: write_jsonl(directory / f"{name}.jsonl", parts.learned),
        "held_out": write_jsonl(directory / "held_out.jsonl", parts.held_out),
    }

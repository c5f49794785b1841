"""What stages write for each other and read again: records a line, and which of them are held out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jielong.data.forms import Record
from jielong.data.splits import Split
from jielong.errors import DataError
from jielong.records import Conversation, Document, Preference, to_dict
from jielong.runs import canonical_json, write_text


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """One record a line; the number of lines."""
    lines = [canonical_json(to_dict(r)) + "\n" for r in records]
    write_text(path, "".join(lines))
    return len(lines)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file made by an earlier stage; DataError when it is missing or damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"{path}:{number}: damaged ({error}); delete {path.parent} and run again"
                    ) from error
    except FileNotFoundError:
        raise DataError(f"{path} is missing; delete {path.parent} and run again") from None


def read_documents(path: Path) -> list[Document]:
    return [Document.from_dict(d) for d in read_jsonl(path)]


def read_conversations(path: Path) -> list[Conversation]:
    return [Conversation.from_dict(d) for d in read_jsonl(path)]


def read_preferences(path: Path) -> list[Preference]:
    return [Preference.from_dict(d) for d in read_jsonl(path)]


def write_parts(directory: Path, name: str, parts: Split[Record]) -> dict[str, Any]:
    """What is learned from under its name, "chats" or "preferences", and what is held out; the stage's summary of it."""
    return {
        "holds": name,
        name: write_jsonl(directory / f"{name}.jsonl", parts.learned),
        "held_out": write_jsonl(directory / "held_out.jsonl", parts.held_out),
    }

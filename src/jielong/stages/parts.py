"""What stages write for each other and read again: records a line, and which of them are held out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jielong.errors import DataError
from jielong.records import Conversation, Document, Preference, to_dict
from jielong.runs import canonical_json, write_text

T = TypeVar("T", Conversation, Preference)


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


def hold_out(records: Sequence[T], every: int) -> tuple[list[T], list[T]]:
    """Records to learn from, and held-out ones: those of every n-th prompt, so that no prompt is on both sides."""
    numbers: dict[str, int] = {}
    parts: tuple[list[T], list[T]] = ([], [])
    for record in records:
        if isinstance(record, Preference):
            prompt = record.prompt
        else:
            first_answer = next((i for i, m in enumerate(record.messages) if m.role == "assistant"), None)
            prompt = record.messages[:first_answer]
        number = numbers.setdefault(canonical_json(to_dict(prompt)), len(numbers))
        parts[number % every == 0].append(record)
    return parts


def write_parts(directory: Path, name: str, parts: tuple[list[T], list[T]]) -> dict[str, Any]:
    """What is learned from under its name, "chats" or "preferences", and what is held out; the stage's summary of it."""
    learned, held_out = parts
    return {
        "holds": name,
        name: write_jsonl(directory / f"{name}.jsonl", learned),
        "held_out": write_jsonl(directory / "held_out.jsonl", held_out),
    }

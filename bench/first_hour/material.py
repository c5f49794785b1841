"""Thirty small documents in two languages, questions about them that some do not answer, and talks that go on.

`library.json` is what the rules were made with (its "tuning" questions, and what the others taught while they were read);
`unseen.json` was written by somebody who had not seen the rules, and was measured afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.opening.libraries import open_library
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.words import words_of

SETS = ("library", "unseen", "unseen2")


@dataclass(frozen=True)
class Question:
    """A question, values of which one makes an answer right, and the file that has it; "" where none has."""

    text: str
    values: tuple[str, ...]
    file: str
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Talk:
    """A person's turns, the file that answers the last one, and the words that do."""

    turns: tuple[str, ...]
    file: str
    value: str


@dataclass(frozen=True)
class Material:
    """Documents by name and what is asked of them."""

    name: str
    files: dict[str, str]
    questions: tuple[Question, ...]
    talks: tuple[Talk, ...]
    let_through: tuple[str, ...]
    not_let_through: tuple[str, ...]


def material(name: str) -> Material:
    """One of `SETS`."""
    data: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return Material(
        name,
        data["files"],
        tuple(
            Question(q["q"], tuple(q["values"]), q["file"], tuple(q.get("right", ())), tuple(q.get("wrong", ())))
            for q in data["questions"]
        ),
        tuple(Talk(tuple(t["turns"]), t["file"], t["value"]) for t in data["follow_ups"]),
        tuple(data["let_through"]),
        tuple(data["not_let_through"]),
    )


@contextmanager
def library_of(of: Material, folder: Path) -> Iterator[Library]:
    """The library of all documents, found by words and by meaning."""
    for name, text in of.files.items():
        path = folder / "documents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with closing(open_library(folder / "library.db", tell=print, is_new=True)) as library:
        library.add([folder / "documents"])
        asyncio.run(library.embed())
        yield library


def is_right(answer: str, values: tuple[str, ...]) -> bool:
    """Whether an answer holds the words and numbers of one of the values."""
    said = words_of(answer)
    for value in values:
        wanted = words_of(value)
        names = {w.lower() for w in wanted.names | wanted.plain}
        if (
            wanted.numbers <= said.numbers
            and wanted.bigrams <= said.bigrams
            and names <= {w.lower() for w in said.held}
        ):
            return True
    return False

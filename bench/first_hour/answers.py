"""Count a model's right answers from documents and its wrong ones with a citation, with one passage and with five."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from bench.first_hour.material import SETS, Material, Question, is_right, library_of, material
from bench.rows import Row
from jielong.opening.libraries import reading_of
from jielong.opening.ports import open_port
from jielong.records import Conversation, Message, Sampling
from jielong.use.port import Options, Port
from jielong.use.retrieval.library import Library
from jielong.use.strategies.library import FromLibrary, Reading
from jielong.use.strategy import run


def rows(folder: Path, models: tuple[str, ...]) -> list[Row]:
    found = []
    for spec in models:
        port = open_port(spec)
        reading = reading_of(port.name)
        for name in SETS:
            of = material(name)
            with library_of(of, folder / name) as library:
                found += asyncio.run(_of(port, Path(spec).name, of, library, reading))
    return found


async def _of(port: Port, model: str, of: Material, library: Library, reading: Reading) -> list[Row]:
    made = []
    for passages in sorted({1, 5, reading.passages}):
        as_read = replace(reading, passages=passages)
        answers = [(q, await _answer(port, q, library, as_read)) for q in of.questions]
        if passages == reading.passages:
            made += _rows(f"{model}, {of.name}", answers)
        else:
            num = sum(is_right(_body(a), q.values) for q, a in answers if q.file)
            made.append(Row(f"{model}, {of.name}: right with {passages} passages", "reported", num, True))
    return made


def _rows(name: str, answers: list[tuple[Question, str]]) -> list[Row]:
    known = [(q, a) for q, a in answers if q.file]
    right = sum(is_right(_body(a), q.values) for q, a in known)
    cited = sum("[1]" in a and is_right(_body(a), q.values) for q, a in known)
    quoted = sum(is_right(a, q.values) for q, a in known)
    wrong = sum("\n[" in a and not is_right(_body(a), q.values) for q, a in answers)
    return [
        Row(f"{name}: wrong answers with a citation", "0", wrong, wrong == 0, f"of {len(answers)}"),
        Row(f"{name}: right answers", "reported", right, True, f"of {len(known)}"),
        Row(f"{name}: right answers with a citation", "reported", cited, True, f"of {len(known)}"),
        Row(
            f"{name}: right in the answer or in the sentence quoted below it",
            "reported",
            quoted,
            True,
            f"of {len(known)}",
        ),
    ]


async def _answer(port: Port, question: Question, library: Library, reading: Reading) -> str:
    conversation = Conversation((Message("user", question.text),))
    options = Options(Sampling(max_tokens=64, temperature=0.0))
    return (await run(FromLibrary(library, reading=reading), conversation, port.ask, options)).answer.text


def _body(answer: str) -> str:
    """The answer without the sources and the note below it."""
    for mark in (
        "\n\n[",
        "The documents that were found",
        "Nearest to the question",
        "找到的资料里没有",
        "最接近的一句",
    ):
        answer = answer.partition(mark)[0]
    return answer

"""Stages about reading: lessons in the very form in which the library's strategy asks, and an exam on sheets of the
test part.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jielong.config import at_least
from jielong.data.splits import hold_out
from jielong.errors import ConfigError
from jielong.evaluate.concurrently import run_concurrently
from jielong.records import Conversation, Document, Message, Sampling
from jielong.report.text import shares_table
from jielong.runs import derive_seed, write_json, write_text
from jielong.stages.models import port_of
from jielong.stages.parts import write_jsonl, write_parts
from jielong.stages.recipe import Context, Stage, Summary
from jielong.use.port import Options
from jielong.use.strategies.library import with_passages
from jielong.worlds.reading import LANGS, Lesson, is_unknown, write_lesson


def as_chat(lesson: Lesson) -> Conversation:
    """Turn a lesson into a chat as the library's strategy writes it: passages before the first question, the others
    bare.
    """
    messages = []
    for number, (question, answer) in enumerate(lesson.turns):
        asked = question if number else with_passages(question, [s.text for s in lesson.sheets])
        messages += [Message("user", asked), Message("assistant", answer)]
    return Conversation(tuple(messages))


@dataclass(frozen=True)
class ExamItem:
    """A question that one of the sheets answers."""

    question: str
    answer: str
    value: str
    """What makes the answer right, in whatever words."""
    sheets: tuple[str, ...]

    @property
    def without(self) -> tuple[str, ...]:
        """Return the sheets that do not answer it."""
        return tuple(sheet for sheet in self.sheets if self.answer not in sheet)


def exam_items(each: int, sheets: int, rng: random.Random) -> dict[str, list[ExamItem]]:
    """Make `each` items for each language, in names and wordings of the test part."""
    items: dict[str, list[ExamItem]] = {lang: [] for lang in LANGS}
    while min(map(len, items.values())) < each:
        lesson = write_lesson("test", sheets, 1, rng)
        question, answer = lesson.turns[0]
        if not is_unknown(answer) and len(items[lesson.lang]) < each:
            value = next(
                v for s in lesson.sheets for _, v in s.facts if answer in s.text and v == answer[-len(v) - 1 : -1]
            )
            items[lesson.lang].append(ExamItem(question, answer, value, tuple(s.text for s in lesson.sheets)))
    return items


@dataclass(frozen=True)
class ReadingStage(Stage):
    """Invented sheets, and conversations about them to learn reading from; as text for a tokenizer too."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    holds: Literal["chats", "documents"] = "chats"
    """Whether the lessons become chats or plain text."""
    lessons: int = 4000
    """Lessons to learn from."""
    max_sheets: int = 5
    """The most sheets of a lesson."""
    turns: int = 6
    """Questions of a lesson."""
    version: int = 3

    def __post_init__(self) -> None:
        at_least(self, 2, "lessons")
        at_least(self, 1, "max_sheets", "turns")
        if self.max_sheets > 7:
            raise ConfigError(
                f"max_sheets is {self.max_sheets}; it must be at most 7: a lesson is about 8 things, of which one is missing"
            )

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl and held_out.jsonl, or documents.jsonl and held_out.jsonl."""
        rng = random.Random(derive_seed(context.recipe.seed, self.name))
        lessons = [write_lesson("train", rng.randint(1, self.max_sheets), self.turns, rng) for _ in range(self.lessons)]
        chats = [as_chat(lesson) for lesson in lessons]
        directory = context.directory(self.name)
        if self.holds == "chats":
            return write_parts(directory, "chats", hold_out(chats, 33))
        documents = [Document("\n".join(m.text for m in c.messages)) for c in chats]
        return {
            "holds": "documents",
            "documents": write_jsonl(directory / "documents.jsonl", documents[1:]),
            "held_out": write_jsonl(directory / "held_out.jsonl", documents[:1]),
        }


@dataclass(frozen=True)
class ReadingExamStage(Stage):
    """`each` held-out questions a language about sheets of which one answers; also without it, and without any.

    Inputs: model, tokenizer.
    """

    name: str
    inputs: Mapping[str, str]
    each: int = 200
    """Questions of each language."""
    sheets: int = 5
    """Sheets that each question is asked about."""
    max_tokens: int = 48
    """The longest an answer may be."""
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "each", "sheets", "max_tokens")

    def run(self, context: Context) -> Summary:
        """Write exam.json into the run's directory: for each language shares of right answers and of "not in the
        documents".
        """
        items = exam_items(self.each, self.sheets, random.Random(derive_seed(context.recipe.seed, self.name)))
        port = port_of(self, context, "model")
        options = Options(Sampling(max_tokens=self.max_tokens, temperature=0.0))

        def ask(asked: Sequence[str], label: str) -> list[str]:
            """Ask all questions at the same time; return the texts."""

            async def one(number: int) -> str:
                return (await port.ask(Conversation((Message("user", asked[number]),)), options)).text.strip()

            context.display.update(0, len(asked), None, 0.0, 0.0, label)
            return asyncio.run(run_concurrently(one, len(asked), at_most=64))

        def share(hits: Sequence[bool]) -> float:
            return sum(hits) / len(hits)

        measures = {}
        for lang, rows in items.items():
            told = ask([with_passages(r.question, r.sheets) for r in rows], lang)
            alone = ask([r.question for r in rows], f"{lang}, alone")
            left_out = ask([with_passages(r.question, r.without) for r in rows], f"{lang}, its sheet left out")
            measures[lang] = {
                "right": share([r.value in text for text, r in zip(told, rows, strict=True)]),
                "right, alone": share([r.value in text for text, r in zip(alone, rows, strict=True)]),
                "abstains, its sheet left out": share([is_unknown(text) for text in left_out]),
                "abstains, its sheet there": share([is_unknown(text) for text in told]),
            }
        write_json(context.run.path / "exam.json", measures)
        write_text(context.run.path / "exam.txt", shares_table(measures))
        return {"measures": measures, "outputs": ["exam.json", "exam.txt"], "shown": ["exam.txt"]}

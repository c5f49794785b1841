"""The stage that writes lessons in reading, in the very form in which the library's strategy asks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from jielong.recipes.prepare import hold_out, write_jsonl, write_parts
from jielong.recipes.recipe import ReadingStage
from jielong.records import Conversation, Document, Message
from jielong.runs import derive_seed
from jielong.use.strategies.library import with_passages
from jielong.worlds.reading import Lesson, write_lesson

if TYPE_CHECKING:
    from jielong.recipes.execute import Context


def as_chat(lesson: Lesson) -> Conversation:
    """A lesson as the library's strategy puts it: passages before the first question, the others bare."""
    messages = []
    for number, (question, answer) in enumerate(lesson.turns):
        asked = question if number else with_passages(question, [s.text for s in lesson.sheets])
        messages += [Message("user", asked), Message("assistant", answer)]
    return Conversation(tuple(messages))


def reading(stage: ReadingStage, context: Context) -> dict[str, Any]:
    """chats.jsonl and held_out.jsonl, or documents.jsonl and held_out.jsonl."""
    rng = random.Random(derive_seed(context.recipe.seed, stage.name))
    lessons = [write_lesson("train", rng.randint(1, stage.max_sheets), stage.turns, rng) for _ in range(stage.lessons)]
    chats = [as_chat(lesson) for lesson in lessons]
    directory = context.directory(stage.name)
    if stage.holds == "chats":
        return write_parts(directory, "chats", hold_out(chats, 33))
    documents = [Document("\n".join(m.text for m in c.messages)) for c in chats]
    return {
        "documents": write_jsonl(directory / "documents.jsonl", documents[1:]),
        "held_out": write_jsonl(directory / "held_out.jsonl", documents[:1]),
    }

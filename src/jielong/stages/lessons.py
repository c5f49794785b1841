"""Lessons of the embedded world: the split of its items into training, judging and exam.

Half of the countries are taught in conversations; the other half appears in pretraining only and is asked in the exam.
Made-up names and requests of training and exam are disjoint.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from jielong.data.splits import hold_out
from jielong.records import Conversation
from jielong.runs import derive_seed
from jielong.stages.parts import write_jsonl, write_parts
from jielong.stages.recipe import Context, Stage, Summary
from jielong.worlds.atlas.facts import Country, load_countries, split
from jielong.worlds.atlas.lessons import (
    Item,
    conversation,
    exam,
    followup_exam,
    format_exam,
    harmless_items,
    lessons,
    made_up_items,
    refusal_items,
    translation_exam,
)


@dataclass(frozen=True)
class ItemCounts:
    """The number of items of each kind: questions per relation and the next three in all, each per country and
    language.
    """

    questions: int = 3
    """Questions for each relation."""
    followups: int = 4
    """Second questions, for each country and language."""
    translations: int = 8
    """Translations, for each country and language."""
    formats: int = 5
    """Answers in a given form, for each country and language."""
    made_up: int = 30
    """Questions about countries that do not exist."""
    refusals: int = 600
    """Questions to be refused."""
    harmless: int = 500
    """Questions that only look as if they were to be refused."""


@dataclass(frozen=True)
class LessonsStage(Stage):
    """The lessons of the embedded world: conversations to learn from, and prompts to be judged on."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    chats: ItemCounts = ItemCounts()
    # Few conversations and a third of the prompts are about countries that do not exist: to say so is what reinforcement
    # is to teach.
    prompts: ItemCounts = ItemCounts(2, 2, 3, 2, made_up=1500)
    facts: str = ""
    version: int = 2

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl and held_out.jsonl to learn from, prompts.jsonl to be judged on."""
        seed = context.recipe.seed
        chats = [conversation(i) for i in self.lesson_items(seed)]
        random.Random(derive_seed(seed, self.name, "order")).shuffle(chats)
        directory = context.directory(self.name)
        return write_parts(directory, "chats", hold_out(chats, 33)) | {
            "prompts": write_jsonl(
                directory / "prompts.jsonl",
                (Conversation(i.messages, {"kind": i.kind}) for i in self.prompt_items(seed)),
            )
        }

    def lesson_items(self, seed: int) -> list[Item]:
        """Return the items of instruction tuning."""
        return _teach(self.chats, seed, derive_seed(seed, "atlas", "lessons"))

    def prompt_items(self, seed: int) -> list[Item]:
        """Return the prompts of reward learning and reinforcement: taught countries, and more made-up ones than in
        lessons.
        """
        return _teach(self.prompts, seed, derive_seed(seed, "atlas", "prompts"))


def halves(seed: int) -> tuple[tuple[Country, ...], tuple[Country, ...]]:
    """Return the taught and unseen countries of a run."""
    return split(load_countries(), derive_seed(seed, "atlas", "split"))


def _teach(counts: ItemCounts, split_seed: int, seed: int) -> list[Item]:
    """Draw lesson items of each kind about the taught countries."""
    taught, _ = halves(split_seed)
    items = lessons(
        taught,
        seed,
        num_questions=counts.questions,
        num_followups=counts.followups,
        num_translations=counts.translations,
        num_formats=counts.formats,
    )
    refusals = refusal_items("train", seed)[: counts.refusals]
    harmless = harmless_items("train", seed)[: counts.harmless]
    return [*items, *made_up_items("train", counts.made_up, seed), *refusals, *harmless]


def exam_items(seed: int, limit: int = 0) -> dict[str, list[Item]]:
    """Return the exam by part; at most `limit` items of each when it is not 0."""
    _, unseen = halves(seed)
    exam_seed = derive_seed(seed, "atlas", "exam")
    questions = exam(unseen, exam_seed)
    parts = {
        "questions_en": [i for i in questions if i.lang == "en"],
        "questions_zh": [i for i in questions if i.lang == "zh"],
        "followups": followup_exam(unseen, exam_seed),
        "translations": translation_exam(unseen, exam_seed),
        "formats": format_exam(unseen, exam_seed),
        "made_up": made_up_items("test", 200, exam_seed),
        "refusals": refusal_items("test", exam_seed),
        "harmless": harmless_items("test", exam_seed),
    }
    return {name: items[:limit] if limit else items for name, items in parts.items()}

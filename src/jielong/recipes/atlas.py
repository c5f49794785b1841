"""What the quickstart takes from the embedded world: which items train, which are judged, which are asked in the exam.

Half of the countries are taught in conversations; the other half appears in pretraining only and is asked in the exam.
Made-up names and requests of training and exam are disjoint.
"""

from __future__ import annotations

from jielong.recipes.recipe import ItemCounts, LessonsStage
from jielong.runs import derive_seed
from jielong.worlds.atlas.facts import Country, load_countries, split
from jielong.worlds.atlas.lessons import (
    Item,
    exam,
    followup_exam,
    format_exam,
    harmless_items,
    lessons,
    made_up_items,
    refusal_items,
    translation_exam,
)


def halves(seed: int) -> tuple[tuple[Country, ...], tuple[Country, ...]]:
    """Taught and unseen countries of a run."""
    return split(load_countries(), derive_seed(seed, "atlas", "split"))


def _teach(counts: ItemCounts, split_seed: int, seed: int) -> list[Item]:
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


def lesson_items(stage: LessonsStage, seed: int) -> list[Item]:
    """What instruction tuning learns from."""
    return _teach(stage.chats, seed, derive_seed(seed, "atlas", "lessons"))


def prompt_items(stage: LessonsStage, seed: int) -> list[Item]:
    """What is asked during reward learning and reinforcement: taught countries, and more made-up ones than in lessons."""
    return _teach(stage.prompts, seed, derive_seed(seed, "atlas", "prompts"))


def exam_items(seed: int, limit: int = 0) -> dict[str, list[Item]]:
    """The exam by part; at most `limit` items of each when it is not 0."""
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

"""What the quickstart takes from the embedded world: which items train, which are judged, which are asked in the exam.

Half of the countries are taught in conversations; the other half appears in pretraining only and is asked in the exam.
Made-up names and requests of training and exam are disjoint.
"""

from __future__ import annotations

from jielong.recipes.recipe import LessonsStage
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


def _teach(stage: LessonsStage, seed: int, num_made_up: int) -> list[Item]:
    taught, _ = halves(seed)
    items = lessons(
        taught,
        seed,
        num_questions=stage.num_questions,
        num_followups=stage.num_followups,
        num_translations=stage.num_translations,
        num_formats=stage.num_formats,
    )
    refusals = refusal_items("train", seed)[: stage.num_refusals]
    harmless = harmless_items("train", seed)[: stage.num_harmless]
    return [*items, *made_up_items("train", num_made_up, seed), *refusals, *harmless]


def lesson_items(stage: LessonsStage, seed: int) -> list[Item]:
    """What instruction tuning learns from."""
    return _teach(stage, derive_seed(seed, "atlas", "lessons"), stage.num_made_up)


def prompt_items(stage: LessonsStage, seed: int) -> list[Item]:
    """What is asked during reward learning and reinforcement: taught countries, and more made-up ones than in lessons."""
    return _teach(stage, derive_seed(seed, "atlas", "prompts"), stage.prompts_made_up)


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

"""Lessons in reading: what they say is invented, their answers are right, and training and test share nothing."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from jielong.recipes import build_recipe
from jielong.runs import read_json
from jielong.stages.execute import run_recipe
from jielong.stages.reading import as_chat, exam_items
from jielong.worlds.reading import (
    KINDS,
    LANGS,
    PARTS,
    RELATIONS,
    Sheet,
    invented_place,
    is_unknown,
    near_place,
    part_of,
    real_places,
    write_lesson,
    write_sheets,
)


def lessons(part: str, num: int = 60) -> list:  # type: ignore[type-arg]
    rng = random.Random(7)
    return [write_lesson(part, 4, 6, rng) for _ in range(num)]


def test_training_and_test_share_no_name_and_no_wording() -> None:
    names, wordings = {}, {}
    for part in PARTS:
        sheets = [s for lesson in lessons(part) for s in lesson.sheets]
        names[part] = {v for s in sheets for _, v in s.facts if not v.isdigit()} | {s.place.en for s in sheets}
        rng = random.Random(1)
        wordings[part] = {sheets[0].question("cook", lang, part, rng) for lang in LANGS for _ in range(40)}
        words = {word for name in names[part] for word in re.split(" and |[ -]", name)}
        assert all(part_of(word) == part for word in words)
    assert not names["train"] & names["test"]
    assert not wordings["train"] & wordings["test"]


def test_an_answer_is_a_sentence_of_the_sheets_or_says_that_there_is_none() -> None:
    unknown = 0
    for lesson in lessons("train"):
        text = "\n".join(s.text for s in lesson.sheets)
        for _, answer in lesson.turns:
            assert is_unknown(answer) != (answer in text)
            unknown += is_unknown(answer)
    assert 0.3 < unknown / 360 < 0.6


def test_a_near_place_shares_an_end_of_its_names_and_is_another() -> None:
    rng = random.Random(5)
    for part in PARTS:
        for _ in range(50):
            place = invented_place(part, rng)
            near = near_place(place, part, rng)
            for name, other in ((place.en.lower(), near.en.lower()), (place.zh, near.zh)):
                assert name != other
                assert name[0] == other[0] or name[-1] == other[-1]


def test_most_questions_without_an_answer_ask_for_what_is_said_of_the_same_place_or_kind() -> None:
    rng = random.Random(9)
    misled = [
        any(misleads(sheet, answer) for sheet in lesson.sheets)
        for lesson in (write_lesson("train", 4, 6, rng) for _ in range(100))
        for _, answer in lesson.turns
        if is_unknown(answer)
    ]
    assert sum(misled) / len(misled) > 0.6


def misleads(sheet: Sheet, answer: str) -> bool:
    """Whether the sheet tells the relation that the answer does not know, of something near."""
    is_zh = sheet.lang == "zh"
    place, kind = (sheet.place.zh, KINDS[sheet.kind]) if is_zh else (sheet.place.en, sheet.kind)
    told = [RELATIONS[relation] if is_zh else relation for relation, _ in sheet.facts]
    return (place in answer or kind in answer) and any(relation in answer for relation in told)


def test_sheets_of_real_places_are_in_both_languages_and_differ_in_every_value() -> None:
    sheets = write_sheets(real_places()[:10], "test", 0)
    assert len(sheets) == 200
    assert 60 < sum(s.lang == "zh" for s in sheets) < 140
    assert len({s.text for s in sheets}) == 200
    assert all(relation in RELATIONS for s in sheets for relation, _ in s.facts)


def test_a_lesson_puts_its_passages_before_the_first_question_alone() -> None:
    chat = as_chat(lessons("train", 1)[0])
    users = [m.text for m in chat.messages if m.role == "user"]
    assert "[4] " in users[0]
    assert not any("[1] " in text for text in users[1:])


@pytest.mark.smoke
def test_the_reader_is_trained_from_nothing(tmp_path: Path) -> None:
    run = run_recipe(build_recipe("reader", size="smoke"), tmp_path)
    assert (run.checkpoint("sft") / "model.safetensors").exists()
    measures = read_json(run.path / "exam.json")
    assert measures.keys() == {"en", "zh"}
    assert all(0 <= share <= 1 for shares in measures.values() for share in shares.values())


def test_the_exam_asks_for_what_one_sheet_says_and_leaves_that_sheet_out() -> None:
    items = exam_items(20, sheets=5, rng=random.Random(3))
    assert {lang: len(rows) for lang, rows in items.items()} == {"en": 20, "zh": 20}
    for rows in items.values():
        for item in rows:
            assert sum(item.answer in sheet for sheet in item.sheets) == 1
            assert len(item.without) == 4
            assert not any(item.answer in sheet for sheet in item.without)

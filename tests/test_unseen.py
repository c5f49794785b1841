"""What retrieval is measured on: the held-out half shares nothing with what thresholds were chosen on, and its answers stand."""

from __future__ import annotations

from bench.strategies.retrieval import OFF_TOPIC, Material, materials, questions

from jielong.use.prompting import language_of
from jielong.worlds.reading import LANGS

SETS = {material.name: material for material in materials(5, 0)}


def names_in(material: Material) -> dict[str, set[str]]:
    """Places, things, relations and everyday questions."""
    sheets = [*material.sheets, *material.lacking]
    return {
        "places": {s.place.en for s in sheets},
        "things": {s.kind for s in sheets},
        "relations": {relation for s in sheets for relation, _ in s.facts},
        "everyday": {text for lang in LANGS for text in material.off_topic[lang]},
    }


def test_no_set_shares_a_place_a_thing_a_fact_or_an_everyday_question_with_another() -> None:
    seen, development, held_out = (names_in(SETS[name]) for name in ("seen", "development", "held out"))
    for what in ("things", "relations", "everyday"):
        for one, other in ((seen, development), (seen, held_out), (development, held_out)):
            assert one[what] and not one[what] & other[what], what
    assert not held_out["places"] & (seen["places"] | development["places"])
    assert not {s.place for s in SETS["seen"].sheets} & {s.place for s in SETS["development"].sheets}


def test_what_is_asked_stands_in_one_sheet_and_in_no_sheet_about_a_place_that_has_none() -> None:
    for material in SETS.values():
        subjects = {(s.place.en, s.kind) for s in material.sheets}
        assert len(subjects) == len(material.sheets)
        assert not subjects & {(s.place.en, s.kind) for s in material.lacking}
        for lang in LANGS:
            for about in LANGS:
                for question in questions(material.sheets, about, lang, 10, 0, material.part):
                    assert question.value in question.sheet.text and question.sheet.lang == about
                    assert language_of(question.text) == lang and language_of(question.sheet.text) == about


def test_a_seed_draws_the_same_sheets_again_and_leaves_the_halves_alone() -> None:
    for one, again, other in zip(materials(3, 0), materials(3, 0), materials(3, 1), strict=True):
        assert one == again and one.sheets != other.sheets
        assert one.off_topic == other.off_topic and {s.kind for s in one.sheets} == {s.kind for s in other.sheets}
    assert SETS["seen"].off_topic == OFF_TOPIC

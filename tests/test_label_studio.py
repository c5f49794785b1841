"""Label Studio's export as judgements: what each kind of result says, whose it is, and what cannot be told."""

from __future__ import annotations

import json

import pytest

from jielong.data.judged_files import read_judgements
from jielong.data.label_studio import judged_in_task
from jielong.errors import DataError
from jielong.records import Demonstration, Message, Preference, Ranking, Rating, Vote

DATA = {"prompt": "Capital of Peru?", "answer1": "Lima.", "answer2": "No idea."}
ASKED = (Message("user", "Capital of Peru?"),)
LIMA, NO_IDEA = ((Message("assistant", text),) for text in ("Lima.", "No idea."))


def result(kind, to_name, value, from_name="control"):
    return {"id": "x", "type": kind, "from_name": from_name, "to_name": to_name, "value": value}


def task(*results, data=DATA, **annotation):
    annotation = {"completed_by": {"email": "ann@example.org"}, "created_at": "2026-01-01T00:00:00.5Z", **annotation}
    return {"id": 7, "data": data, "annotations": [{"result": list(results), **annotation}], "predictions": []}


def judged(*results, data=DATA):
    return judged_in_task(task(*results, data=data))


@pytest.mark.parametrize("names", ["answer1,answer2", ["answer1", "answer2"], "txt-1,txt-2"])
def test_a_chosen_side_is_a_preference_of_that_voter_at_that_time(names):
    found = judged(result("pairwise", names, {"selected": "right"}))
    vote = Vote(at=1767225600.5, shown_first=0)
    assert found.judgements == [Preference(ASKED, NO_IDEA, LIMA, by="ann@example.org", vote=vote)]
    assert judged(result("pairwise", names, {"selected": "left"})).judgements[0].vote.shown_first == 1


def test_sides_that_no_field_is_named_for_are_refused_with_the_fields():
    with pytest.raises(DataError, match=r'compares \["x", "y"\].*answer1, answer2'):
        judged(result("pairwise", ["x", "y"], {"selected": "left"}))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("answer2", Preference(ASKED, NO_IDEA, LIMA, vote=Vote(shown_first=0))),
        ("Response A is better", Preference(ASKED, LIMA, NO_IDEA, vote=Vote(shown_first=1))),
        ("Tie", Preference(ASKED, LIMA, NO_IDEA, label=0.5, vote=Vote(shown_first=1))),
        ("一样", Preference(ASKED, LIMA, NO_IDEA, label=0.5, vote=Vote(shown_first=1))),
    ],
)
def test_a_choice_between_two_answers_is_a_preference_or_a_tie(choice, expected):
    (found,) = judged(result("choices", "prompt", {"choices": [choice]})).judgements
    assert (found.chosen, found.label, found.vote.shown_first) == (
        expected.chosen,
        expected.label,
        expected.vote.shown_first,
    )


def test_both_bad_is_two_marks_of_nothing_and_a_choice_on_one_answer_is_a_mark():
    both = judged(result("choices", "prompt", {"choices": ["Both are bad"]})).judgements
    assert [(one.answer, one.score) for one in both] == [(LIMA, 0.0), (NO_IDEA, 0.0)]
    for choice, score in (("Good", 1.0), ("Not helpful", None), ("👎", 0.0), ("incorrect", 0.0)):
        found = judged(result("choices", "answer1", {"choices": [choice]}))
        assert [one.score for one in found.judgements] == ([] if score is None else [score]), choice
    assert (
        "a choice that says nothing of answers"
        in judged(result("choices", "answer1", {"choices": ["History"]})).left_out[0]
    )


def test_stars_are_a_mark_with_the_comment_beside_them_as_its_reason():
    comment = result("textarea", "answer1", {"text": ["short", "and right"]}, from_name="comment")
    found = judged(result("rating", "answer1", {"rating": 4}), comment)
    assert isinstance(found.judgements[0], Rating)
    assert (found.judgements[0].score, found.judgements[0].reason) == (0.75, "short\nand right")
    assert len(found.judgements) == 1 and "a comment" in found.left_out[0]
    with pytest.raises(DataError, match="rating = 9; expected a finite number from 0 to 5"):
        judged(result("rating", "answer1", {"rating": 9}))


@pytest.mark.parametrize("ranker", [["b", "a"], {"_": ["b", "a"]}, {"rank": ["b", "a"], "_": []}])
def test_an_order_of_a_list_is_a_ranking(ranker):
    items = [{"id": "a", "title": "1", "body": "Lima."}, {"id": "b", "title": "2", "body": "No idea."}]
    found = judged(result("ranker", "items", {"ranker": ranker}), data={"prompt": "Capital of Peru?", "items": items})
    (one,) = found.judgements
    assert isinstance(one, Ranking) and one.answers == (NO_IDEA, LIMA) and one.places == (0, 1)


def test_buckets_have_no_order_that_could_be_told():
    found = judged(result("ranker", "items", {"ranker": {"good": ["answer1"], "bad": ["answer2"]}}))
    assert found.judgements == [] and "buckets" in found.left_out[0]


def test_a_written_text_is_a_demonstration_in_place_of_its_answer():
    found = judged(result("textarea", "answer2", {"text": ["Lima, of course."]}, from_name="better"))
    (one,) = found.judgements
    assert isinstance(one, Demonstration)
    assert (one.answer[0].text, one.rejected) == ("Lima, of course.", NO_IDEA)


def test_a_dialogue_may_be_the_prompt():
    turns = [{"author": "human", "text": "Hi"}, {"author": "bot", "text": "Yes?"}, {"author": "human", "text": "Peru?"}]
    found = judged(result("rating", "response", {"rating": 5}), data={"dialogue": turns, "response": "Lima."})
    assert [(m.role, m.text) for m in found.judgements[0].prompt] == [
        ("user", "Hi"),
        ("assistant", "Yes?"),
        ("user", "Peru?"),
    ]


def test_what_nobody_judged_is_left_out_with_its_reason_and_its_place(tmp_path):
    file = tmp_path / "export.json"
    skipped, plain = task(was_cancelled=True), {"id": 1, "data": DATA, "annotations": []}
    undecided = task(result("pairwise", "answer1,answer2", {}))
    drawn = task(result("rectanglelabels", "answer1", {}), result("rating", "answer1", {"rating": 1}), completed_by=3)
    file.write_text(json.dumps([skipped, plain, undecided, drawn]))
    found = read_judgements(file)
    assert [(one.score, one.by) for one in found.judgements] == [(0.0, "annotator 3")]
    said = "\n".join(found.tally.sentences())
    for why in (
        "was skipped (record 1)",
        "nobody has annotated the task (record 2)",
        "no side of a pair",
        "'rectangle",
    ):
        assert why in said


def test_every_wrong_task_is_named_with_its_field(tmp_path):
    file = tmp_path / "export.json"
    wrong = [
        task(result("rating", "answer1", {"rating": "five"})),
        task(data={"text": "x"}),
        {"data": DATA, "annotations": 3},
    ]
    file.write_text(json.dumps(wrong))
    with pytest.raises(DataError) as caught:
        read_judgements(file)
    for place in (
        "record 1: value of",
        'rating = "five"',
        "record 2: the task's data",
        "record 3: a task has annotations",
    ):
        assert place in str(caught.value)

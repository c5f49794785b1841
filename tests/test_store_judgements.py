"""Judgements in the store: of answers to one question, taken back, replaced, deleted with their talk, and told as nouns."""

from __future__ import annotations

import pytest

from jielong.errors import DataError, NotFoundError
from jielong.records import (
    AnswerSource,
    Demonstration,
    Message,
    Preference,
    Ranking,
    Rating,
    Vote,
    judgement_from,
    judgement_to,
)
from jielong.serve.store import Trace, open_store


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "talks.db") as store:
        yield store


def talked(store, *answers: str, system: str = ""):
    """A talk with one question and these answers to it; the talk's id and those of the answers."""
    talk = store.add_talk(system=system)
    question = store.add_turn(talk.id, "", "user", "秘鲁的首都？")
    return talk.id, [
        store.add_turn(talk.id, question.id, "assistant", text, model="tiny", digest="d").id for text in answers
    ]


def said(role: str, text: str) -> tuple[Message, ...]:
    return (Message(role, text),)


def test_a_pair_becomes_a_preference_for_the_chosen_side(store):
    _, (left, right) = talked(store, "Lima.", "I don't know.", system="Be brief.")
    judged = store.judgements.add(
        "preference", (left, right), {"outcome": "right", "is_blind": True}, by="ann", created=5
    )
    (noun,) = store.judgements.nouns()
    prompt = (Message("system", "Be brief."), Message("user", "秘鲁的首都？"))
    sources = (AnswerSource(right, "tiny", "d"), AnswerSource(left, "tiny", "d"))
    vote = Vote(judged.id, 5, True, 0, sources)
    chosen, rejected = said("assistant", "I don't know."), said("assistant", "Lima.")
    assert noun == Preference(prompt, chosen, rejected, by="ann", vote=vote)


@pytest.mark.parametrize(("outcome", "label"), [("left", 1.0), ("tie", 0.5)])
def test_a_tie_and_the_left_side_keep_their_order(store, outcome, label):
    _, ids = talked(store, "a", "b")
    store.judgements.add("preference", ids, {"outcome": outcome})
    (noun,) = store.judgements.nouns()
    assert (noun.label, noun.chosen, noun.vote.shown_first) == (label, said("assistant", "a"), 1)


def test_two_bad_answers_are_two_ratings_of_nothing(store):
    _, ids = talked(store, "a", "b")
    store.judgements.add("preference", ids, {"outcome": "bad"})
    assert [(noun.answer[0].text, noun.score) for noun in store.judgements.nouns()] == [("a", 0.0), ("b", 0.0)]


def test_a_newer_rating_of_the_same_voter_replaces_the_one_before(store):
    _, (one,) = talked(store, "a")
    for by, score in (("ann", 1.0), ("bo", 1.0), ("ann", 0.0)):
        store.judgements.add("rating", (one,), {"score": score}, by=by)
    assert [(noun.by, noun.score) for noun in store.judgements.nouns()] == [("bo", 1.0), ("ann", 0.0)]


def test_an_answer_has_its_tokens_unless_a_person_edited_it(store):
    talk, (drawn,) = talked(store, "a")
    question = store.turn(drawn).parent
    trace = Trace((1, 2), (7, 8), (-1.0, -1.0), (True, True), (None, None))
    store.change_turn(drawn, trace=trace)
    written = store.add_turn(talk, question, "assistant", "better", is_edited=True, trace=trace).id
    store.judgements.add("demonstration", (written,), {"rejected": drawn})
    store.judgements.add("rating", (drawn,), {"score": 0.25, "reason": "dull"})
    demonstration, rating = store.judgements.nouns()
    assert demonstration.rejected == said("assistant", "a") and demonstration.vote.answers[0].ids == ()
    assert (rating.vote.answers[0].prompt_ids, rating.vote.answers[0].ids, rating.reason) == ((1, 2), (7, 8), "dull")


def test_judgements_are_taken_back_and_go_with_their_talk(store):
    talk, ids = talked(store, "a", "b")
    first = store.judgements.add("preference", ids, {"outcome": "left"})
    store.judgements.add("ranking", ids, {"places": [0, 1]})
    assert store.judgements.delete([first.id]) == 1 and store.judgements.count() == {"ranking": 1}
    with pytest.raises(NotFoundError):
        store.judgements.get(first.id)
    store.delete_talk(talk)
    assert store.judgements.all() == []


def test_those_that_decide_a_comparison_are_not_learned_from(store):
    talk, ids = talked(store, "a", "b")
    store.judgements.add("preference", ids, {"outcome": "left"}, purpose="learn-1")
    assert store.judgements.nouns() == [] and len(store.judgements.of_talk(talk)) == 1
    assert len(store.judgements.all(purpose="learn-1")) == 1


@pytest.mark.parametrize(
    ("kind", "num", "value", "said"),
    [
        ("rating", 1, {"score": 2}, "0 to 1"),
        ("rating", 2, {"score": 1}, "expected 1"),
        ("preference", 2, {"outcome": "up"}, "left, right, tie, bad"),
        ("ranking", 2, {"places": [0, 2]}, "0, 1, 2"),
        ("applause", 1, {}, "rating, preference"),
    ],
)
def test_a_judgement_that_makes_no_sense_is_refused(store, kind, num, value, said):
    _, ids = talked(store, "a", "b")
    with pytest.raises(DataError, match=said):
        store.judgements.add(kind, ids[:num], value)
    assert store.judgements.all() == []


def test_answers_of_two_questions_are_no_pair(store):
    _, (one,) = talked(store, "a")
    _, (other,) = talked(store, "b")
    with pytest.raises(DataError, match="different questions"):
        store.judgements.add("preference", (one, other), {"outcome": "left"})
    with pytest.raises(DataError, match="is a question"):
        store.judgements.add("rating", (store.turn(one).parent,), {"score": 1})


NOUNS = [
    Preference(
        said("user", "q"), said("assistant", "a"), said("assistant", "b"), by="ann", vote=Vote("", 7.0, True, 0)
    ),
    Rating((Message("system", "s"), Message("user", "q")), said("assistant", "a"), 0.75, "bo", "short", Vote(at=8.0)),
    Ranking(said("user", "q"), (said("assistant", "a"), said("assistant", "b")), (1, 0), vote=Vote(at=9.0)),
    Demonstration(said("user", "q"), said("assistant", "a"), said("assistant", "b"), vote=Vote(at=10.0)),
]


def test_nouns_are_the_same_after_json_and_after_the_store(store):
    assert [judgement_from(judgement_to(noun)) for noun in NOUNS] == NOUNS
    assert store.judgements.add_nouns(NOUNS) == 4
    found = store.judgements.nouns()
    for noun, again in zip(NOUNS, found, strict=True):
        assert {**judgement_to(again), "vote": None} == {**judgement_to(noun), "vote": None}
        assert (again.vote.at, again.vote.is_blind) == (noun.vote.at, noun.vote.is_blind)
    assert store.talks() == [] and store.newest_talk() is None
    store.judgements.delete([one.id for one in store.judgements.all()])
    assert store.newest_talk("feedback") is None


def test_a_kind_that_nobody_knows_is_refused():
    with pytest.raises(DataError, match="preference, rating"):
        judgement_from({"kind": "thumb"})

"""Exercises in copying: each has one right answer, which can be found by looking back and in no other way."""

from __future__ import annotations

import random
import re
from typing import get_args

import pytest

from jielong.stages.echo import as_chat, pieces_of
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.worlds.echo import Exercise, Kind, Pieces, exercises
from jielong.worlds.household.things import FURNITURE, ROOMS, THINGS, made_up_thing
from jielong.worlds.nonsense import HAN, nonsense

PIECES = Pieces(list("abcdefghijklmnop"), list("天地玄黄宇宙洪荒日月盈昃辰宿列张"))


def written(kind: Kind, count: int = 300) -> list[Exercise]:
    rng = random.Random(5)
    return [exercises(PIECES, (kind,), 1, rng)[0] for _ in range(count)]


def words(text: str) -> list[str]:
    """Latin words, numbers, and Han words between marks."""
    return re.findall(r"[A-Za-z]+|\d+|[\u4e00-\u9fff0-9]+", text)


def test_what_is_repeated_is_what_was_said() -> None:
    assert all(e.answer == e.question for e in written("repeat"))


def test_the_answer_to_a_record_stands_in_the_list_under_the_key_that_is_asked_for() -> None:
    missing = 0
    for e in written("record"):
        *records, asked = re.split(r"\. |; |\n| / |。|；", e.question.rstrip("?"))
        assert asked in e.answer
        if "none" in e.answer or "没有" in e.answer:
            missing += 1
            if "none" in e.answer:
                assert not any(re.search(rf"\b{asked}\b", record) for record in records)
        else:
            assert e.answer in e.question
    assert 20 < missing < 100


def test_keys_share_words_so_that_no_single_word_tells_the_record() -> None:
    shared = 0
    for e in written("record"):
        *records, asked = re.split(r"\. |; |\n| / |。|；", e.question.rstrip("?"))
        first = words(asked)[:1]
        shared += bool(first) and sum(first[0] in record for record in records) > 1
    assert shared > 60


def test_what_lists_have_in_common_stands_in_both_and_all_of_it_is_named() -> None:
    for e in written("common"):
        if "wanted" in e.question:
            first, second = re.fullmatch(r"seen: (.+)\. wanted: (.+)", e.question).groups()  # type: ignore[union-attr]
        elif "看到" in e.question:
            first, second = re.fullmatch(r"看到(.+)。要(.+)", e.question).groups()  # type: ignore[union-attr]
        else:
            first, second = re.split(r"\. |\n|。", e.question)
        one, two = (re.split(", |、", part) for part in (first, second))
        assert re.split(", |、", e.answer) == [word for word in two if word in one]


def test_of_words_that_are_asked_for_each_is_said_to_be_in_the_list_or_not() -> None:
    kinds: set[bool] = set()
    for e in written("there"):
        answers = re.fullmatch(r"seen: (.+)\. wanted: (.+)|看到(.+)。要(.+)|(.+)(?:\. |\n|。)(.+)", e.question)
        assert answers
        listed, asked = (re.split(", |、", part) for part in filter(None, answers.groups()))
        found = [re.fullmatch(r"(.+?) ?[(（](here|这里|[?？])[)）]", part) for part in re.split(", |、", e.answer)]
        assert [match and match[1] for match in found] == asked
        is_there = [bool(match) and match[2] in ("here", "这里") for match in found if match]
        assert is_there == [word in listed for word in asked]
        kinds |= set(is_there)
    assert kinds == {True, False}


def test_both_languages_come_and_every_conversation_keeps_to_one() -> None:
    rng = random.Random(0)
    chats = [exercises(PIECES, get_args(Kind), 3, rng) for _ in range(40)]
    han = [[bool(re.search("[\u4e00-\u9fff]", e.question)) for e in chat] for chat in chats]
    assert 5 < sum(map(all, han)) < 35
    # a list of three numbers has no language
    assert sum(len(set(chat)) > 1 for chat in han) <= 2


def test_the_same_seed_writes_the_same() -> None:
    assert written("record") == written("record")


@pytest.mark.parametrize("han", ["runs", "characters"])
def test_words_are_made_of_the_pieces_a_tokenizer_cuts(han: str) -> None:
    tokenizer = train_tokenizer(
        ["the cups and the plates of the house", "杯子和盘子"] * 20, TokenizerConfig(400, han=han)
    )
    pieces = pieces_of(tokenizer)
    assert {"the", "a", "z"} <= set(pieces.latin)
    assert set(pieces.han) <= set("杯子和盘")
    if han == "characters":
        assert set(pieces.han) == set("杯子和盘")


def test_an_exercise_is_a_question_and_its_answer() -> None:
    chat = as_chat([Exercise("ab cd", "ab cd"), Exercise("x: y. x?", "x: y")])
    assert [(m.role, m.text) for m in chat.messages] == [
        ("user", "ab cd"), ("assistant", "ab cd"), ("user", "x: y. x?"), ("assistant", "x: y")
    ]  # fmt: skip


def test_nonsense_is_made_of_any_letters_or_any_common_characters() -> None:
    rng = random.Random(0)
    english = " ".join(nonsense("en", rng) for _ in range(500))
    assert set(english) == {*"abcdefghijklmnopqrstuvwxyz", " "}
    chinese = "".join(nonsense("zh", rng) for _ in range(2000))
    assert len(set(chinese)) > 2000
    assert set(chinese) <= set(HAN)
    assert {"的", "一", "中"} <= set(HAN)


def test_made_up_things_have_no_name_that_something_has() -> None:
    rng = random.Random(0)
    made_up = [made_up_thing(rng) for _ in range(20_000)]
    known = {name for kind in (*THINGS.values(), *FURNITURE.values(), *ROOMS.values()) for name in (kind.en, kind.zh)}
    assert not known & {name for kind in made_up for name in (kind.en, kind.zh)}

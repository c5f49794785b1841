"""The world of sums keeps its laws: right answers, halves, and no phrasing, person, thing or number on both sides."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from jielong.errors import ConfigError
from jielong.tokens import TokenizerConfig, render, train_tokenizer
from jielong.tokens.chat import texts
from jielong.use.tools.calculator import calculate
from jielong.worlds.sums.items import (
    BOOKS,
    CALL_KINDS,
    FORMULAS,
    LANGS,
    NO_CALL_STORIES,
    STORIES,
    Item,
    conversations,
    exam_numbers,
    messages,
    options_of_part,
    questions,
    questions_of,
)

TRAIN, TEST = questions("train", 4000, 7), questions("test", 4000, 7)


def pattern(item: Item) -> str:
    """The question without its numbers, people and things."""
    text = re.sub(r"\d+(?:-\d+)?", "#", item.question)
    book = BOOKS[item.lang]
    for words, mark in ((book.NAMES, "N"), ([u + t for t, u in book.THINGS], "T"), ([t for t, _ in book.THINGS], "T")):
        text = re.sub("|".join(sorted(map(re.escape, words), key=len, reverse=True)), mark, text, flags=re.IGNORECASE)
    return text


def test_the_calculator_gives_the_answer_that_the_reply_says() -> None:
    for item in (*TRAIN, *TEST):
        if item.call is not None:
            assert item.call == {"name": "calculator", "arguments": {"expression": item.expression}}
            assert calculate(item.expression) == item.answer
            assert re.findall(r"\d+", item.reply) == [item.answer]
            assert [int(n) for n in re.findall(r"\d+", item.expression)] == list(item.numbers)
            assert Fraction(item.answer).denominator == 1


def test_every_number_of_a_call_stands_in_the_question() -> None:
    for item in (*TRAIN, *TEST):
        assert {str(n) for n in item.numbers} <= set(re.findall(r"\d+", item.question)), item


def test_no_question_is_put_alike_in_training_and_exam() -> None:
    of_train = {pattern(i) for i in TRAIN}
    assert not [i.question for i in TEST if pattern(i) in of_train]


def test_no_operand_from_10_on_is_in_training_and_exam() -> None:
    of_exam = exam_numbers(7)
    assert {n for i in TRAIN for n in i.numbers}.isdisjoint(of_exam)
    assert {n for i in TEST for n in i.numbers if n >= 10} <= of_exam
    assert {len(str(n)) for i in TEST for n in i.numbers} == {1, 2, 3, 4}


def test_people_and_things_are_split_and_the_split_is_the_seeds() -> None:
    for lang in LANGS:
        for words in (BOOKS[lang].NAMES, BOOKS[lang].THINGS):
            train, test = (options_of_part(words, part, 7, lang) for part in ("train", "test"))
            assert sorted((*train, *test)) == sorted(set(words))
            assert options_of_part(words, "test", 8, lang) != test


def test_half_need_a_call_and_half_of_the_rest_hold_a_digit_in_each_language() -> None:
    for items in (TRAIN, TEST):
        for lang in LANGS:
            own = [i for i in items if i.lang == lang]
            without = [i for i in own if i.call is None]
            assert len(own) == 2000
            assert len(without) == 1000
            assert sum(any(c.isdigit() for c in i.question) for i in without) == 500


def test_every_formula_is_asked_plainly_and_in_stories_in_both_languages() -> None:
    for lang in LANGS:
        assert {i.form for i in TEST if i.lang == lang and i.call} == set(FORMULAS)
        assert set(BOOKS[lang].EXPRESSIONS) == set(STORIES) == set(FORMULAS)
        parts = {name for story in (*(s for v in STORIES.values() for s in v), *NO_CALL_STORIES) for name, _ in story}
        assert parts == set(BOOKS[lang].PARTS)
    english, chinese = BOOKS.values()
    for name in ("NUMBERED", "WORDED", "ELEMENTS"):
        assert getattr(english, name).keys() == getattr(chinese, name).keys()


def test_the_same_seed_gives_the_same_questions_and_another_gives_others() -> None:
    assert questions("train", 50, 7) == TRAIN[:50]
    assert questions("train", 50, 8) != TRAIN[:50]


@pytest.mark.parametrize("kind", CALL_KINDS)
def test_of_one_kind_all_are_of_it(kind: str) -> None:
    assert {(i.kind, i.lang) for i in questions_of(kind, "zh", "test", 20, 7)} == {(kind, "zh")}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain"):
        questions_of("plan", "en", "test", 1, 7)


def test_trained_are_the_call_and_the_reply_and_nothing_that_user_or_tool_said() -> None:
    """One digit is one token, and the words of a conversation come back from its trained tokens alone."""
    talks = conversations("train", 300, 7)
    tokenizer = train_tokenizer(
        (t for c in talks for t in texts(c.messages)), TokenizerConfig(vocab_size=700, digits="single")
    )
    assert len(tokenizer.encode("1234")) == 4
    item = next(i for i in TRAIN if i.kind == "two_steps" and i.lang == "en")
    rendered = render(messages(item), tokenizer)
    trained = tokenizer.decode([i for i, is_trained in zip(rendered.ids, rendered.trained, strict=True) if is_trained])
    call = f'{{"name": "calculator", "arguments": {{"expression": "{item.expression}"}}}}'
    assert trained == f"<tool_call>{call}</tool_call><|im_end|>{item.reply}<|im_end|>"


def test_a_talk_asks_one_to_three_questions() -> None:
    asked = [sum(m.role == "user" for m in c.messages) for c in conversations("train", 200, 7)]
    assert set(asked) == {1, 2, 3}

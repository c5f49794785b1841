"""The answer inside an answer: the same number however it is written, in both languages."""

from __future__ import annotations

import pytest

from jielong.use.answers import groups, is_same, last_number
from jielong.use.numerals import numbers_in_words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("twenty-three", 23),
        ("one hundred and five", 105),
        ("Two thousand three hundred", 2300),
        ("a hundred", 100),
        ("one million two", 1_000_002),
        ("十", 10),
        ("二十三", 23),
        ("一百零五", 105),
        ("三千零五", 3005),
        ("两万三千", 23_000),
        ("一亿二千万", 120_000_000),
        ("一万亿", 10**12),
        ("二〇二六", 2026),
    ],
)
def test_a_number_in_words_has_its_value(text: str, value: int) -> None:
    assert [found for _, found in numbers_in_words(text)] == [value]


def test_words_that_only_look_like_numbers_are_none() -> None:
    assert numbers_in_words("often a stone, someone, 北京") == []


def test_the_same_number_is_the_same_answer_however_it_is_written() -> None:
    for text in (
        "15",
        "15.0",
        "１５",
        "It is fifteen.",
        "答案：十五个",
        "So 10 + 5 = 15!",
        r"\boxed{15}",
        "一共是十五",
    ):
        assert is_same(text, "15"), text
    for text in ("16", "-15", "It is fifty.", "十六", "15 or 16", "none"):
        assert not is_same(text, "15"), text
    assert is_same("minus: \u22123.50", "-3.5") and is_same("1,200", "1200") and is_same("1/2", "1/2")


def test_a_sign_between_two_numbers_is_no_sign_of_the_second() -> None:
    assert last_number("10-3") == "3" and last_number("on 2026-11-25") == "25" and last_number("x = -3") == "-3"


def test_votes_count_numbers_in_words_only_where_they_are_the_whole_answer() -> None:
    assert groups(["Answer: fifteen.", "15", "十五", "no one", "三亚", "1"]) == [0, 0, 0, 3, 4, 5]

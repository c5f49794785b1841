"""Checkers of instructions: each has an answer that follows and one that does not, in both languages where that matters."""

from __future__ import annotations

import pytest

from jielong.errors import DataError
from jielong.evaluate.instructions import CHECKERS, accuracy, check_instructions, is_followed, read_checkers, words

# kind, parameters, an answer that follows, one that does not
CASES = [
    ("repeat", {"phrase": "haha", "count": 3}, "Haha haha, haha!", "haha haha"),
    ("repeat", {"phrase": "哈哈", "count": 2}, "哈哈哈哈", "哈哈"),
    ("only-repeats", {"phrase": "haha"}, "haha, haha", "haha, you said"),
    ("copy", {"of": "A; b!"}, " A; b!\n", "a; b!"),
    ("starts-with", {"phrase": "Dear"}, "Dear you", "My dear"),
    ("ends-with", {"phrase": "?"}, "真的吗？", "Really? Yes."),
    ("one-of", {"options": ["yes", "no"]}, "Yes.", "yes and no"),
    ("includes", {"phrases": ["rain", "train"]}, "A train in the rain", "A train"),
    ("includes", {"phrases": ["雨"]}, "下雨了", "下雪了"),
    ("excludes", {"phrases": ["cold"]}, "The scolding wind", "It is COLD"),
    ("frequency", {"phrase": "dog", "at_least": 2}, "dog dog dogs", "dogs dog"),
    ("frequency", {"phrase": "dog", "at_most": 1}, "a dog", "dog dog"),
    ("letter", {"letter": "z", "at_least": 2}, "Zigzag", "zoo"),
    ("words", {"at_most": 4}, "It's a well-known 3.5", "one two three four five"),
    ("words", {"at_least": 4}, "天空很蓝", "天很蓝"),
    ("characters", {"at_most": 3}, "a b c", "abcd"),
    ("sentences", {"at_least": 2, "at_most": 2}, "It is 3.5 m. Fine!", "One. Two. Three."),
    ("sentences", {"at_least": 2, "at_most": 2}, "今天很好。明天呢？", "今天很好。"),
    ("paragraphs", {"at_least": 2, "at_most": 2}, "a\n\nb", "a\nb"),
    ("lines", {"at_least": 2, "at_most": 2}, "a\n\nb", "a"),
    ("bullets", {"count": 2}, "- a\n* b", "- a\nb"),
    ("numbered", {"count": 2}, "1. a\n2、b", "1. a\n3. b"),
    ("sections", {"count": 2, "name": "Section"}, "## Section 1\na\nsection 2: b", "Section 1"),
    ("sections", {"count": 1, "name": "第"}, "第１节", "一"),
    ("sorted-lines", {}, "Ant\nbee\nCat", "bee\nant"),
    ("json", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("json-keys", {"keys": ["书名"]}, '{"书名": "红楼梦"}', '{"名": 1}'),
    ("title", {}, "《河》\n水流", "河\n水流"),
    ("title", {}, "<<River>>\nflow", "<<River\nflow"),
    ("quoted", {}, "“光阴似箭”", '"Time" flies'),
    ("placeholders", {"at_least": 2}, "[name], [place]", "[name]"),
    ("highlights", {"at_least": 2}, "*one* and **two**", "* one\n* two"),
    ("postscript", {"marker": "P.S."}, "Thanks\nP.S. Soon", "P.S. Soon\nThanks"),
    ("two-answers", {}, "a\n******\nb", "a******"),
    ("opens-paragraph", {"paragraph": 2, "word": "However"}, "a\n\nHowever, b", "However\n\nb"),
    ("lower-case", {}, "london 伦敦", "London"),
    ("upper-case", {}, "HELLO!", "HELLo"),
    ("capital-words", {"at_least": 1, "at_most": 1}, "I am VERY fine", "I am fine"),
    ("no-digits", {}, "十二 twelve", "１2"),
    ("no-commas", {}, "a; b", "甲，乙"),
    ("no-exclamations", {}, "fine.", "好！"),
    ("language", {"is": "zh"}, "你好，Bob", "Hello 世"),
]


@pytest.mark.parametrize(("kind", "parameters", "good", "bad"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_a_checker_tells_the_answer_that_follows_from_the_one_that_does_not(kind, parameters, good, bad) -> None:
    spec = {"kind": kind, **parameters}
    assert read_checkers([spec]) == (spec,)
    assert is_followed(spec, good)
    assert not is_followed(spec, bad)


def test_every_checker_has_its_case_and_refuses_an_empty_answer() -> None:
    assert {case[0] for case in CASES} == set(CHECKERS) and len(CHECKERS) >= 25
    at_most = {"frequency", "capital-words"}
    for kind, parameters, _, _ in CASES:
        if kind not in at_most:
            assert not is_followed({"kind": kind, **parameters}, ""), kind


def test_words_are_the_same_notion_in_both_languages() -> None:
    assert words("It's 3.5 km，很远") == ["It's", "3.5", "km", "很", "远"]


def test_a_wrong_specification_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match="unknown checker 'no-digit'; did you mean 'no-digits'"):
        read_checkers([{"kind": "no-digit"}])
    with pytest.raises(DataError, match=r"'words' cannot take \{'most': 3\}; it takes at_least, at_most"):
        read_checkers([{"kind": "words", "most": 3}])
    with pytest.raises(DataError, match="cannot take"):
        read_checkers([{"kind": "bullets"}])
    with pytest.raises(DataError, match="expected a list"):
        read_checkers({"kind": "json"})


def test_loosely_a_line_around_the_answer_does_not_count_against_it() -> None:
    specs = read_checkers([{"kind": "json"}, {"kind": "no-digits"}])
    found = check_instructions(specs, 'Here it is:\n{"a": 1}')
    assert (found.strict, found.loose) == ((False, False), (True, True))  # without the last line there is no digit
    assert check_instructions(specs, "**2**").loose == (True, False)


def test_the_four_accuracies_by_hand() -> None:
    specs = read_checkers([{"kind": "lower-case"}, {"kind": "no-digits"}])
    found = accuracy(
        [
            check_instructions(specs, "fine"),
            check_instructions(specs, "fine 3"),
            check_instructions(specs, "Sure:\nfine"),
        ]
    )
    # prompts: 1 of 3, loosely 2 of 3; instructions: 2 + 1 + 1 of 6, loosely 2 + 1 + 2
    assert found.prompts_strict == pytest.approx(1 / 3) and found.prompts_loose == pytest.approx(2 / 3)
    assert found.instructions_strict == pytest.approx(4 / 6) and found.instructions_loose == pytest.approx(5 / 6)

"""The answer inside an answer: the same number however it is written, in both languages."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bench.answers import read_pairs, votes, wrong

from jielong.use.answers import final, groups, is_same, last_number
from jielong.use.answers.formulas import is_same_formula
from jielong.use.answers.numbers import numbers_in
from jielong.use.answers.spelling import plain_spelling
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


# --- one comparer with types


KNOWN = {"pairs": ["3.10"], "more": ["从8:40到11:10，用时是2小时30分钟。"]}
"""The pairs that are taken for the same and are not; none is told apart that is the same."""


@pytest.mark.parametrize("name", list(KNOWN))
def test_pairs_of_answers_are_judged_as_a_careful_reader_would(name: str) -> None:
    pytest.importorskip("math_verify")
    pairs = read_pairs(name)
    missed, taken = wrong(pairs, [is_same(p["given"], p["right"]) for p in pairs])
    assert [p["given"] for p in missed] == [] and [p["given"] for p in taken] == KNOWN[name]


def test_votes_go_to_whom_most_agree_with() -> None:
    assert [row.ok for row in votes()] == [True]
    assert groups(["CO2", "H2O", "192.168.0.1", "10.0.0.1", "11:30", "half past eleven"]) == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("6*7. So it is \\boxed{42}. Wait.", "42"),
        ("36-4 = 32\n#### 32", "32"),
        ("Let me think. The final answer is: **Paris**.", "Paris"),
        ("正确答案为B。", "B"),
        ("42. Because 6*7 is 42.", "42"),
        ("<think>7 or 8?</think>It is 8", "It is 8"),
        ("<answer>E</answer>", "E"),
        ("It is Sept. 9, 2021", "It is Sept. 9, 2021"),
        ("Paris. Actually, no: Lyon", "Lyon"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
        ("", ""),
    ],
)
def test_the_answer_is_found_in_what_is_around_it(text: str, part: str) -> None:
    assert final(text) == part


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("12元5角", [("25/2", "yuan")]),
        ("1 hour 15 minutes", [("5/4", "time")]),
        ("1.234,50", [("2469/2", "")]),
        ("$45^\\circ$", [("45", "angle")]),
        ("24cm²", [("24", "area")]),
        ("5 mV", [("5", "voltage")]),
        ("一又二分之一", [("3/2", "")]),
        ("-\\frac{3}{4}", [("-3/4", "")]),
        ("1e-5 and .5", [("1/100000", ""), ("1/2", "")]),
        ("CO2, x1", []),
        ("三角形", []),
        ("5千", [("5000", "")]),
        ("3 4", [("3", ""), ("4", "")]),
        ("12元5角和3元", [("25/2", "yuan"), ("3", "yuan")]),
        ("1/0", []),
    ],
)
def test_numbers_are_read_exactly_with_what_they_measure(text: str, amounts: list[tuple[str, str]]) -> None:
    assert [(str(n.value), n.dimension) for n in numbers_in(plain_spelling(text))] == amounts


def test_last_numbers_are_written_to_their_end() -> None:
    assert last_number("0.12345678901234567890") == "0.1234567890123456789"
    assert last_number("1,234.50") == "1234.5" and last_number(".5") == "0.5" and last_number("2/4") == "1/2"
    assert last_number("none") == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x^2+2x+1", "(x+1)^2", True),
        ("y=2x+1", "2x-y+1=0", True),
        ("y=2x+1", "2x-y-1=0", False),
        ("4t - 7", "-7 + 4t", True),
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}", True),
        ("x^{9999999}", "x^{9999998}", False),
        ("9^{9^{9^9}}", "9^{9^{9^8}}", False),
        ("\\frac{", "}", False),
    ],
)
def test_formulas_are_equal_where_algebra_says_so_and_never_take_long(one: str, other: str, same: bool) -> None:
    pytest.importorskip("math_verify")
    start_s = time.monotonic()
    assert is_same_formula(one, other) is same
    assert time.monotonic() - start_s < 20


def test_formulas_are_compared_from_any_thread() -> None:
    pytest.importorskip("math_verify")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(is_same_formula, ["a+b", "a-b"], ["b+a", "b-a"])) == [True, False]


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        ("It was President Lincoln.", "Lincoln", True),
        ("The answer is 1,234,567,890.", "1234567890", True),
        ("2 billion", "2000000000", True),
        ("I know that it is Paris.", "Paris", True),
        ("I don\u2019t know if it is Paris", "Paris", False),
        ("它不等于5", "5", False),
        ("答案是5！6是错的", "5", True),
        ("5\\mathrm{cm}", "50 mm", True),
        ("晚上12点", "00:00", True),
        ("深夜2点", "凌晨2点", True),
        ("3天半", "3.5天", True),
        ("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", False),
    ],
)
def test_what_once_misled_the_comparer(given: str, right: str, same: bool) -> None:
    assert is_same(given, right) is same


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        ("A is a vowel. So B", "B", True),
        ("It is a quarter past two", "2:15", True),
        ("深夜11点", "23:00", True),
        ("深夜11点", "11:00 a.m.", False),
        ("x<3", "(-∞,3)", True),
        ("x≤3", "(-∞,3)", False),
        ("(0,2]", "[0,2)", False),
        ("The question only wants it, which is 35%", "35%", True),
        ("5 or 6", "6", False),
        ("5 for 6", "6", True),
        ("No. Wait, it is 4. Actually, it is 5", "5", True),
    ],
)
def test_small_words_decide(given: str, right: str, same: bool) -> None:
    assert is_same(given, right) is same


def test_fractions_in_sentences_agree_with_what_they_are() -> None:
    assert groups(["每人得到这块地的3/4", "他得到的是3/4", "0.75"]) == [0, 0, 0]

"""The calculator is right or refuses: known expressions, random ones in many spellings, and what is read in two ways."""

from __future__ import annotations

import contextlib
import math
import random
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.calculator_cases import HOSTILE, KNOWN, REFUSED
from tests.expressions import is_right, random_expressions

from jielong.errors import DataError
from jielong.use.arithmetic.intervals import Interval, Reals
from jielong.use.numerals import whole_number
from jielong.use.tools.calculator import calculate, value_of


@pytest.mark.parametrize(("expression", "value"), KNOWN.items())
def test_known_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(("expression", "told"), REFUSED.items())
def test_what_is_no_arithmetic_or_read_in_two_ways_is_refused_in_one_sentence(expression: str, told: str) -> None:
    with pytest.raises(DataError) as error:
        calculate(expression)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_thousand_random_expressions_in_many_spellings_have_the_value_of_their_tree() -> None:
    for text, value in random_expressions(1000, seed=5):
        if value is None:
            with pytest.raises(DataError, match=r"division by zero|power of 0"):
                calculate(text)
        else:
            assert value_of(text) == value, text
            assert is_right(calculate(text), value), text


def test_the_check_of_random_expressions_would_see_a_wrong_digit() -> None:
    assert is_right("0.333333333333333", Fraction(1, 3))
    assert not is_right("0.333333333333334", Fraction(1, 3))
    assert not is_right("333333333333333000000000000000", Fraction(10**30, 3))
    assert not is_right("3", Fraction(4))


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30), st.sampled_from(["+", "-", "*", "//", "%"]))
def test_whole_numbers_are_computed_as_python_does(a: int, b: int, sign: str) -> None:
    if sign in ("//", "%") and b == 0:
        return
    expected = {"+": a + b, "-": a - b, "*": a * b, "//": a // (b or 1), "%": a % (b or 1)}[sign]
    assert calculate(f"({a}) {sign} ({b})") == str(expected)


@given(st.integers(-9999, 9999), st.integers(1, 999))
def test_division_is_exact_inside_and_rounded_only_when_written(a: int, b: int) -> None:
    assert value_of(f"({a})/{b}*{b}") == a
    assert is_right(calculate(f"({a})/{b}"), Fraction(a, b))


@given(
    st.integers(1, 10**6), st.integers(1, 10**4), st.sampled_from(["sin", "cos", "tan", "exp", "ln", "sqrt", "log10"])
)
def test_functions_agree_with_floats_as_far_as_these_go(a: int, b: int, name: str) -> None:
    x = a / b
    if name == "exp" and x > 700:
        return
    expected = (math.log if name == "ln" else getattr(math, name))(x)
    # a float loses what the rounding of its argument moves, near a zero or a pole most of all
    slack = 1e-14 + 1e-15 * x * {"tan": 1 + math.tan(x) ** 2, "exp": math.exp(min(x, 700))}.get(name, 1 + 1 / x)
    assert float(calculate(f"{name}({a}/{b})")) == pytest.approx(expected, rel=1e-13, abs=slack)


@given(st.integers(2, 10**6), st.integers(2, 12))
def test_roots_powers_and_logarithms_undo_each_other(a: int, n: int) -> None:
    assert calculate(f"({a}^{n})^(1/{n})") == str(a)
    assert calculate(f"floor(log({a}^{n}, {a}))") == str(n)
    assert calculate(f"exp(ln({a}/7))") == calculate(f"{a}/7")
    assert calculate(f"sin({a})^2 + cos({a})^2") == "1"


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.sampled_from(["exp", "ln", "sqrt", "sin"]))
def test_an_interval_of_few_digits_holds_the_one_of_many(a: int, b: int, name: str) -> None:
    x = Fraction(a, b) / (200 if name == "exp" else 1)  # exp(5000) is a number that is still shown
    x = abs(x) + Fraction(1, 3) if name in ("ln", "sqrt") else x
    few, many = (getattr(reals, name)(reals.of(x)) for reals in (Reals(20), Reals(60)))
    assert isinstance(few, Interval) and few.low <= many.low <= many.high <= few.high
    assert Decimal(many.high) - Decimal(many.low) < Decimal("1e-40") * max(1, abs(many.high))


def test_hostile_expressions_end_soon() -> None:
    slowest = 0.0
    for expression in HOSTILE:
        begin = time.perf_counter()
        with contextlib.suppress(DataError):
            assert calculate(expression)
        slowest = max(slowest, time.perf_counter() - begin)
    assert slowest < 0.5


@given(st.text(alphabet="0123456789+-*/().,%^x×÷ae sqrt√²!°½的平方三百加of零点", max_size=40))
def test_no_text_makes_the_calculator_fail_otherwise(text: str) -> None:
    with contextlib.suppress(DataError):
        assert calculate(text)


@given(st.lists(st.sampled_from([*KNOWN, *REFUSED, "+", " ", "of", "(", ")", "%", "的", "="]), max_size=5).map("".join))
def test_no_mixture_of_expressions_makes_it_fail_otherwise(text: str) -> None:
    with contextlib.suppress(DataError):
        assert calculate(text)


def han(n: int) -> str:
    """A number below 10**12 in Chinese, as it is taught."""
    for large, name in ((10**8, "亿"), (10**4, "万")):
        if n >= large:
            above, below = divmod(n, large)
            return han(above) + name + ("零" if 0 < below < large // 10 else "") + (han(below) if below else "")
    text, is_skipped = "", False
    for place, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = n // place % 10
        if digit:
            text += ("零" if is_skipped and text else "") + "零一二三四五六七八九"[digit] + name
        is_skipped = not digit
    return text


def test_whole_numbers_in_chinese_are_read_and_short_forms_are_not_guessed() -> None:
    rng = random.Random(0)
    for n in [*range(1, 3000), *(rng.randrange(1, 10 ** rng.randint(4, 12)) for _ in range(3000))]:
        assert whole_number(han(n)) == n
    for text in "一百二 两千五 三万五 五六 百 万 十十 二十两 一百零 五百千".split():
        assert whole_number(text) is None
    assert [whole_number(t) for t in "十 两百 二〇二六 三万五百 一万亿".split()] == [10, 200, 2026, 30500, 10**12]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("nineteen hundred", 1900),
        ("one million two hundred thousand and six", 1200006),
        ("twenty-five", 25),
        ("five six", None),
        ("twenty twelve", None),
        ("hundred", None),
        ("and five", None),
        ("two thousand three million", None),
        ("", None),
    ],
)
def test_whole_numbers_in_english_are_read_where_they_are_well_formed(words: str, value: int | None) -> None:
    assert whole_number(words) == value

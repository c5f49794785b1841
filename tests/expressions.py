"""Expressions for a calculator: known ones, ones to refuse, hostile ones, and random trees written in many spellings.

The reference never reads a text: a tree is made first, its value is worked out with fractions, and then it is written down.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

MAX_VALUE = 10**30


class Undefined(Exception):
    """The tree has no value: a division by zero, or 0 to the power of 0."""


@dataclass(frozen=True)
class Tree:
    """A number, where `sign` is "", or an operation on one or two trees."""

    sign: str
    left: Tree | None = None
    right: Tree | None = None
    number: Fraction = Fraction(0)

    def value(self) -> Fraction:
        if not self.left:
            return self.number
        left = self.left.value()
        if self.sign == "!":
            return Fraction(math.factorial(int(left)))
        if self.sign == "√":
            return Fraction(math.isqrt(int(left)))
        if not self.right:
            return {"negative": -left, "%": left / 100}[self.sign]
        right = self.right.value()
        if (self.sign in ("/", "//", "mod") and right == 0) or (self.sign == "^" and left == 0 and right <= 0):
            raise Undefined
        if self.sign == "^":
            return left ** int(right)
        return {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "/": lambda: left / right,
            "//": lambda: Fraction(left // right),
            "mod": lambda: left % right,
        }[self.sign]()


def random_tree(rng: random.Random, depth: int = 3) -> Tree:
    if depth == 0 or rng.random() < 0.15:
        return Tree("", number=random_number(rng))
    sign = rng.choice("+ + - - * * * / / // mod ^ negative % ! √".split())
    if sign == "!":
        return Tree(sign, Tree("", number=Fraction(rng.randrange(8))))
    if sign == "√":
        return Tree(sign, Tree("", number=Fraction(rng.randrange(20) ** 2)))
    left = random_tree(rng, depth - 1)
    if sign == "^":
        exponent = Tree("", number=Fraction(rng.randrange(13)))
        return Tree(sign, left, Tree("negative", exponent) if rng.random() < 0.3 else exponent)
    return Tree(sign, left, random_tree(rng, depth - 1) if sign not in ("negative", "%") else None)


def random_number(rng: random.Random) -> Fraction:
    kind = rng.random()
    if kind < 0.5:
        return Fraction(rng.randrange(20))
    if kind < 0.7:
        return Fraction(rng.randrange(10 ** rng.randint(2, 7)))
    if kind < 0.85:
        return Fraction(rng.randrange(10_000), 10 ** rng.randint(1, 3))
    return rng.randrange(4) + rng.choice(list(VULGAR.values()))


VULGAR = {"½": Fraction(1, 2), "¼": Fraction(1, 4), "¾": Fraction(3, 4), "⅓": Fraction(1, 3), "⅝": Fraction(5, 8)}
SUM, PRODUCT, BESIDE, SIGNED, POWER, POSTFIX, OPERAND = range(7)
SIGNS = {
    "+": ["+", "+", "＋", " plus ", "加", "加上"],
    "-": ["-", "-", "−", "–", " minus ", "减", "减去"],
    "*": ["*", "*", "×", "·", "✕", " x ", " X ", "＊", " times ", " multiplied by ", "乘", "乘以", "\\times "],
    "/": ["/", "/", "÷", "∕", "／", " divided by ", "除以"],
    "//": ["//", " // "],
    "^": ["^", "**", "＾", " ** "],
}
FRAMES = [
    "{}",
    "{}",
    "{}",
    "{} =",
    "{}=?",
    "={}",
    '"{}"',
    "what is {}?",
    "calculator({})",
    "{};",
    "计算{}",
    "{}等于多少？",
]


def written(tree: Tree, rng: random.Random) -> str:
    """One of the many spellings of a tree."""
    return rng.choice(FRAMES).format(_at(tree, SUM, rng))


def _at(tree: Tree, level: int, rng: random.Random) -> str:
    """The tree as an operand that holds together at least as well as `level`; in brackets where it does not."""
    text, own = _spelt(tree, rng)
    if own < level or rng.random() < 0.05:
        opening, closing = rng.choice(["()", "()", "()", "（）", "[]", "{}"])
        space = rng.choice(["", "", " "])
        return f"{opening}{space}{text}{space}{closing}"
    return text


def _spelt(tree: Tree, rng: random.Random) -> tuple[str, int]:
    left, right = tree.left, tree.right
    if not left:
        return _number(tree.number, rng)
    if tree.sign == "negative":
        return f"{rng.choice(['-', '−', '- '])}{_at(left, POWER, rng)}", SIGNED
    if tree.sign == "%":
        share = f"{_at(left, OPERAND, rng)}{rng.choice(['%', '%', '％', ' %', ' percent'])}"
        return f"({share})", OPERAND
    if tree.sign == "!":
        return f"{_at(left, OPERAND, rng)}!", POSTFIX
    if tree.sign == "√":
        return rng.choice(["√{}", "√({})", "(sqrt({}))", "(根号{})"]).format(_at(left, OPERAND, rng)), SIGNED
    assert right
    if tree.sign == "^":
        return _power(left, right, rng)
    if tree.sign == "mod":
        spelling = rng.choice([" % ", "%", " mod ", " modulo ", "mod("])
        operands = _at(left, OPERAND, rng), _at(right, OPERAND, rng)
        if spelling == "mod(":  # where a comma has another meaning than in 1,234
            return f"(mod({', '.join(re.sub(r',(?=[0-9])', '', operand) for operand in operands)}))", OPERAND
        return f"({spelling.join(operands)})", OPERAND
    if tree.sign in "+-":
        return _joined(SIGNS[tree.sign], _at(left, SUM, rng), _at(right, PRODUCT, rng), rng), SUM
    if tree.sign == "*" and left.sign == "%" and left.left and rng.random() < 0.5:
        share = f"{_at(left.left, OPERAND, rng)}{rng.choice(['% of ', ' percent of ', '% * ', '%×'])}"
        return f"{share}{_at(right, SIGNED, rng)}", PRODUCT
    if tree.sign == "*" and rng.random() < 0.3:
        beside = _at(left, OPERAND, rng), f"({_at(right, SUM, rng)})"
        return rng.choice(["", " "]).join(beside), BESIDE
    inner = _at(left, PRODUCT, rng), _at(right, BESIDE if tree.sign == "*" else SIGNED, rng)
    # behind "x" a sign would look like 3x - 2
    signs = [s for s in SIGNS[tree.sign] if s.strip().lower() != "x" or inner[1][0] in "(0123456789"]
    return _joined(signs, *inner, rng), PRODUCT


def _joined(signs: list[str], left: str, right: str, rng: random.Random) -> str:
    # "sixteen-six" may be a spelling of one number
    space = " " if left[-1].isalpha() and right[0].isalpha() else rng.choice(["", " "])
    return f"{left}{space}{rng.choice(signs)}{space}{right}"


def _power(base: Tree, exponent: Tree, rng: random.Random) -> tuple[str, int]:
    whole = int(exponent.value())
    kind = rng.random()
    if kind < 0.4:
        raised = str(whole).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
        return f"{_at(base, OPERAND, rng)}{raised}", POWER
    if whole in (2, 3) and kind < 0.6:
        said = rng.choice([" squared", "的平方"] if whole == 2 else [" cubed", "的立方"])
        return f"({_at(base, OPERAND, rng)}{said})", OPERAND
    if whole > 0 and kind < 0.7:
        return f"({_at(base, OPERAND, rng)}的{whole}次方)", OPERAND
    sign = rng.choice(SIGNS["^"])
    return f"{_at(base, OPERAND, rng)}{sign}{_at(exponent, SIGNED, rng)}", SIGNED


def _number(value: Fraction, rng: random.Random) -> tuple[str, int]:
    whole, part = divmod(value, 1)
    vulgar = next((c for c, v in VULGAR.items() if v == part), "")
    if value.denominator != 1 and ((vulgar and rng.random() < 0.5) or value.denominator == 3):
        return (f"{whole}{rng.choice(['', ' '])}" if whole else "") + vulgar, OPERAND
    if value.denominator != 1:
        digits = f"{whole}.{str(round(part * 1000)).zfill(3).rstrip('0')}"
        return rng.choice([digits, digits, digits.removeprefix("0") if whole == 0 else digits, f"{digits}0"]), OPERAND
    spellings = [str(whole)] * 4 + [_full_width(str(whole)), f"0x{whole:x}", f"{whole}.0", f"0b{whole:b}"]
    if whole >= 1000:
        grouped = f"{whole:,}"
        spellings += [grouped, grouped.replace(",", "'"), f"{whole:_}", grouped.replace(",", "\u202f")]
        if whole >= 10**6:
            spellings.append(grouped.replace(",", " "))
    if whole and whole % 1000 == 0:
        spellings.append(f"{whole // 1000}e3")
    if 0 < whole < 20:
        spellings += [_ENGLISH[whole], _HAN[whole]]
    return rng.choice(spellings), OPERAND


_ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_HAN = "零 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九".split()


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) for c in text)


def random_expressions(count: int, seed: int) -> Iterator[tuple[str, Fraction | None]]:
    """Texts of at most 300 characters and their values; None where there is no value and the text must be refused."""
    rng = random.Random(seed)
    while count:
        tree = random_tree(rng, rng.randint(1, 4))
        value: Fraction | None
        try:
            value = tree.value()
        except Undefined:
            value = None
        text = written(tree, rng)
        if len(text) > 300 or (value is not None and max(abs(value.numerator), value.denominator) > MAX_VALUE):
            continue
        count -= 1
        yield text, value


def is_right(shown: str, value: Fraction) -> bool:
    """Whether each digit that is shown is right: a whole number in full, others rounded at their 15th digit or later."""
    if value.denominator == 1:
        return shown == str(value.numerator)
    number = Decimal(shown)
    unit = Fraction(10) ** (number.adjusted() + 1 - max(15, len(number.as_tuple().digits)))
    return abs(Fraction(number) - value) <= unit / 2

"""The tokenizer of expressions: numbers, names and signs, as people write and say them.

A sign has one name in all its spellings: ×, ✕, "times" and 乘以 are "*". Nothing is rewritten beforehand, and spaces are
kept in mind, because "10 % -3" and "10% - 3" differ in nothing else. The grammar decides the meaning of a sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from jielong.errors import DataError
from jielong.use.arithmetic import literals
from jielong.use.numerals import words_at

Arities = Mapping[str, tuple[int, int]]
"""Of each function, the least and the most numbers it takes."""


@dataclass(frozen=True)
class Token:
    """`kind` is "number", "name", "power" (a whole exponent: ², "squared"), "end" or the name of a sign."""

    kind: str
    text: str
    value: Fraction = Fraction(0)
    is_word: bool = False
    is_spaced: bool = False
    """Whether white space stands before it."""


_SIGNS = {
    **dict.fromkeys("-−–—‒﹣", "-"),
    **dict.fromkeys("*×✕✖∗⋅·∙•⨯", "*"),
    **dict.fromkeys("/÷∕", "/"),
    **dict.fromkeys("([{【〔", "("),
    **dict.fromkeys(")]}】〕", ")"),
    **dict.fromkeys(";.。", "stop"),
    **{c: c for c in "+^!%‰°√,=?"},
    "∛": "cbrt",
    "∜": "root4",
    "**": "^",
    "//": "//",
    "\\times": "*",
    "\\cdot": "*",
    "\\div": "/",
}
_PAIRS = {")": "(", "]": "[", "}": "{", "】": "【", "〕": "〔"}

_WORDS = {
    **dict.fromkeys(("plus", "加", "加上"), "+"),
    **dict.fromkeys(("minus", "减", "减去"), "-"),
    **dict.fromkeys(("negative", "负"), "negative"),
    **dict.fromkeys(("times", "multiplied by", "乘", "乘以", "乘上"), "*"),
    **dict.fromkeys(("divided by", "除以"), "/"),
    **dict.fromkeys(("mod", "modulo"), "mod"),
    **dict.fromkeys(("to the power of", "raised to the power of"), "^"),
    **dict.fromkeys(("squared", "平方"), "2"),
    **dict.fromkeys(("cubed", "立方"), "3"),
    **dict.fromkeys(("degrees", "degree", "度"), "°"),
    **dict.fromkeys(("percent", "per cent"), "percent"),
    **dict.fromkeys(("square root of", "the square root of", "根号"), "√"),
    **dict.fromkeys(("cube root of", "the cube root of"), "cbrt"),
    **dict.fromkeys(("equals", "is", "等于", "是"), "="),
    **dict.fromkeys(("多少", "几", "what"), "?"),
    **dict.fromkeys(("次方", "次幂"), "次方"),
    **dict.fromkeys(("平方根", "算术平方根"), "平方根"),
    **{word: word for word in ("of", "的", "分之", "百分之", "千分之", "立方根", "阶乘", "除")},
}
_OPENING = re.compile(
    r"(?:(?:please|what is|what's|what does|how much is|calculate|compute|evaluate|work out|the value of|请问|请|计算|算一下|求)[\s:]*)*",
    re.IGNORECASE,
)
_WORD = re.compile(
    "|".join(
        rf"(?<![a-z]){word.replace(' ', chr(92) + 's+')}(?![a-z])" if word.isascii() else word
        for word in sorted(_WORDS, key=len, reverse=True)
    ),
    re.IGNORECASE,
)
_SIGN = re.compile("|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True)))
_NAME = re.compile(r"log10|log2|π|\\?[a-z_]+", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_POWER = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "「": "」"}
_SAME = dict(zip("萬億點減負兩號於階計請問幾￥’‘", "万亿点减负两号于阶计请问几¥''", strict=True))
"""Characters that are another form of one that is known; full-width forms and digits of other scripts are found by rule."""


def tokens(text: str, arities: Arities) -> list[Token]:
    """Tokenize one expression, with a last token of kind "end". Raises DataError, which names what has no meaning."""
    text = text.strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    if len(text.splitlines()) > 1:
        raise DataError(f"the expression has {len(text.splitlines())} lines; give one expression at a time")
    text = "".join(map(_plain, text))
    opening = _OPENING.match(text)
    return _Tokenizer(text, arities, opening.end() if opening else 0).all()


def _plain(c: str) -> str:
    """Return the known form of a character: ７ is 7."""
    if c in _SAME:
        return _SAME[c]
    if "！" <= c <= "～":
        return chr(ord(c) - 0xFEE0)
    if unicodedata.category(c) == "Cf":
        return " "
    return str(unicodedata.decimal(c)) if c.isdecimal() else c


@dataclass
class _Bracket:
    """An open bracket: its sign, and the function it belongs to."""

    opened: str
    function: str = ""
    has_thousands: bool = False
    has_spaced: bool = False


@dataclass
class _Tokenizer:
    """The state of tokenizing one expression."""

    text: str
    arities: Arities
    at: int
    found: list[Token] = field(default_factory=list)
    open: list[_Bracket] = field(default_factory=list)
    currencies: set[str] = field(default_factory=set)
    styles: set[str] = field(default_factory=set)

    def all(self) -> list[Token]:
        """Read all tokens. Raises DataError if brackets or number styles do not fit together."""
        while True:
            begin = self.at
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at == len(self.text):
                break
            self._read_token(is_spaced=self.at > begin)
        if self.open:
            raise DataError(f"a bracket {self.open[-1].opened!r} is not closed")
        if "decimal comma" in self.styles and len(self.styles) > 1:
            raise DataError("commas and points are used in two ways here; write decimals with a point: 1234.5")
        return [*self.found, Token("end", "")]

    def _read_token(self, is_spaced: bool) -> None:
        """Read the next token: a number, a power, a word, a sign or a name."""
        literal = literals.read(self.text, self.at, belongs_comma=self._belongs_comma())
        if literal is not None:
            self.styles |= literal.styles
            if "decimal comma" in literal.styles and any(b.opened in "[{" for b in self.open):
                raise DataError("a list is no number; give one expression")
            self._add_token("number", literal.end, is_spaced, literal.value)
        elif power := _POWER.match(self.text, self.at):
            exponent = int(power[0].translate(_SUPERSCRIPTS)) if len(power[0]) < 10 else 10**10
            self._add_token("power", power.end(), is_spaced, Fraction(exponent))
        elif word := _WORD.match(self.text, self.at):
            kind = _WORDS[" ".join(word[0].lower().split())]
            is_power = kind.isdecimal()
            value = Fraction(kind) if is_power else Fraction(0)
            self._add_token("power" if is_power else kind, word.end(), is_spaced, value, is_word=True)
        elif sign := _SIGN.match(self.text, self.at):
            self._read_sign(sign[0], is_spaced)
        elif name := _NAME.match(self.text, self.at):
            kind = "x" if name[0] in ("x", "X") else "name"
            self._add_token(kind, name.end(), is_spaced)
        elif unicodedata.category(self.text[self.at]) == "Sc":
            self._skip_currency()
        elif self.text[self.at].isalpha():
            self._refuse_letters(is_spaced)
        else:
            strange = self.text[self.at]
            why = _NOT_UNDERSTOOD.get(strange, f"is no sign that is understood; {UNDERSTOOD}")
            raise DataError(f"{strange!r} {why}")

    def _add_token(
        self, kind: str, end: int, is_spaced: bool, value: Fraction = Fraction(0), *, is_word: bool = False
    ) -> None:
        """Add a token and move behind it."""
        self.found.append(Token(kind, self.text[self.at : end], value, is_word, is_spaced))
        self.at = end

    def _belongs_comma(self) -> bool:
        """Whether a comma belongs to a number here: everywhere but in a call of several numbers."""
        function = next((b.function for b in reversed(self.open) if b.function), "")
        return self.arities.get(function, (1, 1))[1] == 1

    def _read_sign(self, sign: str, is_spaced: bool) -> None:
        """Read a sign, and keep track of open brackets and commas."""
        kind = _SIGNS[sign]
        if kind == "(":
            self.open.append(_Bracket(sign, self._called_function()))
        elif kind == ")":
            if not self.open or self.open[-1].opened != _PAIRS[sign]:
                raise DataError(
                    f"a bracket {sign!r} closes {repr(self.open[-1].opened) if self.open else 'none that is open'}"
                )
            self._close(self.open.pop())
        elif kind == "," and self.open:
            after = self.at + 1
            self.open[-1].has_spaced |= is_spaced or self.text[after : after + 1].isspace()
            self.open[-1].has_thousands |= literals.is_thousands(self.text, self.at)
            if literals.is_thousands(self.text, self.at) and self.text[after] == "0":
                self.open[-1].has_spaced = True
        self._add_token(kind, self.at + len(sign), is_spaced)

    def _called_function(self) -> str:
        """Return the function whose bracket opens here, "" for none; mod is one if no number stands before it."""
        before, last = [Token("end", ""), Token("end", ""), *self.found][-2:]
        is_operation = last.kind == "mod" and before.kind in ("number", "power", ")", "!", "name")
        return last.text.lower() if last.text.lower() in self.arities and not is_operation else ""

    def _close(self, bracket: _Bracket) -> None:
        """Close a bracket. Raises DataError if its commas are unclear: max(1,200) has two numbers, round(1,234) one or
        two.
        """
        is_optional = self.arities.get(bracket.function, (1, 1)) == (1, 2)
        if bracket.has_thousands and (bracket.has_spaced or is_optional):
            raise DataError(
                f"a comma in {bracket.function or 'a call'}(...) can divide numbers or mark thousands; "
                "write numbers without commas there"
            )

    def _skip_currency(self) -> None:
        """Skip a sign of money before a number. Raises DataError for two currencies."""
        sign = self.text[self.at]
        self.at += 1
        self.currencies.add(sign)
        if len(self.currencies) > 1:
            raise DataError(f"{' and '.join(sorted(self.currencies))} are two currencies; they are not converted")
        if not re.match(r"\s*[\d.]", self.text[self.at :]) or (self.found and self.found[-1].kind == "number"):
            raise DataError(f"{sign!r} does not stand before a number; write numbers without units")

    def _refuse_letters(self, is_spaced: bool) -> None:
        """Refuse a run of letters that no rule knows."""
        end = self.at + 1
        while end < len(self.text) and self.text[end].isalpha() and not self.text[end].isascii():
            if _WORD.match(self.text, end) or words_at(self.text, end):
                break
            end += 1
        self._add_token("name", end, is_spaced)


_NOT_UNDERSTOOD = {
    ":": "can be a division, a ratio or a time; write / for a division",
    "|": "opens and closes alike; write abs(-3)",
    "∞": "is no number",
}
UNDERSTOOD = "only numbers, + - * / // % ^ ! √, brackets and functions such as sqrt(2) are"

"""Number literals in any notation: 1,234.5 and 1.234,5, 1 234 567, 6.02e23, 0x1F, 1½, 3万, twenty-five, 三点五.

A notation that people read in two ways is refused, with a sentence that says so: "1 234" may be one number or two.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from jielong.errors import DataError
from jielong.use.arithmetic.intervals import too_large
from jielong.use.numerals import decimals_at, whole_number, words_at


@dataclass(frozen=True)
class Found:
    """A number, where it ends, and the marks that identify its country's style."""

    value: Fraction
    end: int
    styles: frozenset[str] = frozenset()


_SPACE = "\u00a0\u2009\u202f"
_THOUSANDS = r"[1-9]\d{0,2}"
_RUN = r"\.\d+|\d+(?:(?:[%s]\d)\d*|[ ]\d{3}(?!\d))*(?:\.(?![(\w]))?"  # 0.(3) is 1/3 to some
_RUNS = {
    belongs_comma: re.compile(_RUN % f"._'{_SPACE}{',' if belongs_comma else ''}") for belongs_comma in (True, False)
}
_OTHER_BASE = re.compile(r"0(?:x[0-9a-f]+|b[01]+|o[0-7]+)(?![0-9a-z_.])", re.IGNORECASE)
_BEGINS_OTHER_BASE = re.compile(r"0(?:x[0-9a-f]|b\d|o\d)", re.IGNORECASE)
_EXPONENT = re.compile(r"e([+-]?\d+)", re.IGNORECASE)
_OPEN_EXPONENT = re.compile(r"e(?![a-z])", re.IGNORECASE)
_SLASHED = re.compile(r"(\d+)⁄(\d+)")
_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "万亿": 10**12,
    "万": 10**4,
    "亿": 10**8,
}
_SCALE = re.compile(r"\s*(?:(hundred|thousand|million|billion)(?![a-z])|(万亿|万|亿))", re.IGNORECASE)
_POINT_STYLE, _COMMA_STYLE = frozenset({"decimal point"}), frozenset({"decimal comma"})
_SPELLINGS = [
    (re.compile(r"\d+\.\d*|\.\d+"), "", _POINT_STYLE),
    (re.compile(r"\d+"), "", frozenset[str]()),
    (re.compile(r"\d+(?:_\d+)+(?:\.\d+)?"), "_", frozenset[str]()),
    (re.compile(rf"{_THOUSANDS}(?:,\d{{3}})+(?:\.\d+)?"), ",", _POINT_STYLE),
    (re.compile(r"[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?"), ",", _POINT_STYLE),  # lakhs
    (re.compile(rf"{_THOUSANDS}(?:'\d{{3}})+(?:\.\d+)?"), "'", frozenset[str]()),
    (re.compile(rf"{_THOUSANDS}(?: \d{{3}}){{2,}}(?:\.\d+)?"), " ", frozenset[str]()),
    (re.compile(rf"{_THOUSANDS}(?:[{_SPACE}]\d{{3}})+(?:\.\d+)?"), _SPACE, frozenset[str]()),
    (re.compile(r"\d+,(?:\d{1,2}|\d{4,})|0,\d{3}"), "", _COMMA_STYLE),
    (re.compile(rf"{_THOUSANDS}(?:\.\d{{3}})+,\d+|{_THOUSANDS}(?:\.\d{{3}}){{2,}}"), ".", _COMMA_STYLE),
]
"""How a run of digits may look, the marks within it that count nothing, and whose habit it is."""


def read(text: str, at: int, *, belongs_comma: bool) -> Found | None:
    """Read the number at a place. Returns None if none begins there. `belongs_comma`: whether a comma can be a part of
    it.
    """
    if text.startswith(("百分之", "千分之"), at):
        return None
    if other := _OTHER_BASE.match(text, at):
        return Found(Fraction(int(other[0], 0)), other.end())
    if _BEGINS_OTHER_BASE.match(text, at):
        raise DataError(f"{text[at : at + 12]!r} begins like a number in base 16, 8 or 2 and does not go on like one")
    if slashed := _SLASHED.match(text, at):
        if not int(slashed[2]):
            raise DataError("division by zero")
        return Found(Fraction(int(slashed[1]), int(slashed[2])), slashed.end())
    if (vulgar := _vulgar(text, at)) is not None:
        return Found(vulgar, at + 1)
    found = _read_digits(text, at, belongs_comma) or _read_words(text, at)
    if found and (scale := _SCALE.match(text, found.end)):
        return Found(found.value * _SCALES[(scale[1] or scale[2]).lower()], scale.end(), found.styles)
    return found


def is_scaled(text: str) -> bool:
    """Whether a number is in digits with a scale word: "2 million", which behind 1/ means half of that."""
    return text[:1].isdecimal() and text.lower().endswith(tuple(_SCALES))


def is_thousands(text: str, comma: int) -> bool:
    """Whether a comma stands as in 1,234."""
    before = re.search(rf"(?<![\d.,']){_THOUSANDS}$", text[:comma])
    return before is not None and re.match(r"\d{3}(?!\d)", text[comma + 1 :]) is not None


def _read_digits(text: str, at: int, belongs_comma: bool) -> Found | None:
    """Read a number in digits, with an exponent or a fraction behind it."""
    run = _RUNS[belongs_comma].match(text, at)
    if not run:
        return None
    value, styles = _run_of_digits(run[0])
    end = run.end()
    if exponent := _EXPONENT.match(text, end):
        if len(exponent[1].lstrip("+-0")) > 4:
            raise too_large()
        return Found(value * Fraction(10) ** int(exponent[1]), exponent.end(), styles)
    if _OPEN_EXPONENT.match(text, end):
        raise DataError(f"{text[at : end + 1]!r} lacks the digits of an exponent, or means {run[0]}*e; write which")
    mixed = end + (text[end : end + 1] == " ")
    if run[0].isdecimal() and (vulgar := _vulgar(text, mixed)) is not None:
        return Found(value + vulgar, mixed + 1, styles)
    return Found(value, end, styles)


def _run_of_digits(run: str) -> tuple[Fraction, frozenset[str]]:
    """Return the value of digits and separators, and the styles that these identify. Raises DataError if they are
    unclear.
    """
    for pattern, marks, styles in _SPELLINGS:
        if pattern.fullmatch(run):
            digits = "".join(c for c in run if c not in marks) if marks else run
            return Fraction(digits.replace(",", ".").rstrip(".")), styles
    if " " in run:
        raise DataError(f"{run!r} may be one number or two; write {run.replace(' ', '')}, or a sign between them")
    raise DataError(f"{run!r} is no number, or one that is read in two ways; write it like 1234.5")


def _read_words(text: str, at: int) -> Found | None:
    """Read a number in words, with decimals."""
    words = words_at(text, at)
    if not words:
        return None
    value = whole_number(words)
    if value is None:
        raise DataError(f"{words!r} is no number, or one that is read in two ways; write it in digits")
    after, digits = decimals_at(text, at + len(words))
    return Found(Fraction(f"{value}.{digits}" if digits else value), at + len(words) + len(after))


def _vulgar(text: str, at: int) -> Fraction | None:
    """Return the value of a character such as ½."""
    numerator, _, denominator = unicodedata.normalize("NFKC", text[at : at + 1]).partition("⁄")
    return Fraction(int(numerator), int(denominator)) if numerator.isdecimal() and denominator.isdecimal() else None

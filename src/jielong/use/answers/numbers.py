"""Numbers in a text, in any notation: digits in the styles of several countries, fractions, words, with their units."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from jielong.use.answers.spelling import plain_spelling
from jielong.use.answers.units import unit_at
from jielong.use.numerals import numbers_in_words

_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALES |= {"百": 100, "千": 10**3, "万": 10**4, "亿": 10**8, "万亿": 10**12}
_DIGITS = re.compile(
    r"""(?:(?P<sign>(?<![\w.)\]}])[-+])\s?)?
    (?:
      (?:(?P<whole>\d+)\s?)?\\frac\{(?P<top>-?\d+(?:\.\d+)?)\}\{(?P<bottom>\d+(?:\.\d+)?)\}
    | (?P<european>\d{1,3}(?:\.\d{3})+,\d+)
    | (?P<digits>\d{1,3}(?:[, ]\d{3})+(?!\d)(?:\.\d+)?|\d+\.\d+|(?<![\d.])\.\d+|\d+)
      (?:e(?P<exponent>[-+]?\d{1,4})(?![\w])|\s?[×x*]\s?10\^\{?(?P<power>-?\d{1,4})\}?)?
      (?:\s(?P<above>\d+)/(?P<mixed>\d+)(?![\d/])|\s?/\s?(?P<below>\d+(?:\.\d+)?)(?![\d/]))?
    )
    (?:\s?(?P<scale>hundred|thousand|million|billion|trillion|万亿|百|千(?![米克瓦伏卡帕牛赫焦])|万|亿)(?![a-z]))?
    (?P<percent>\s?%|\s?(?:percent|per\scent)\b)?""",
    re.VERBOSE | re.IGNORECASE,
)
_MOST_DIGITS = 400
_MONEY_BEFORE = re.compile(r"[$€£¥]\s?$")
_HAN_DIGITS = "零〇一二三四五六七八九十百千万亿两"
_HAN_FRACTION = re.compile(
    rf"(?P<minus>负)?(?:(?P<whole>[{_HAN_DIGITS}\d]+)又)?(?P<bottom>[{_HAN_DIGITS}\d]+)分之(?P<top>[{_HAN_DIGITS}\d.]+)(?:点(?P<rest>[{_HAN_DIGITS}]+))?"
)
_HAN_DECIMAL = re.compile(
    rf"(?P<minus>负)?(?P<whole>[{_HAN_DIGITS}]+)点(?P<rest>[零〇一二三四五六七八九]+)(?![钟半分{_HAN_DIGITS}])"
)
_TENTHS = re.compile(r"(?P<tens>[一二三四五六七八九\d](?:\.\d)?)成(?P<units>[一二三四五六七八九])?")
_MONEY_TAIL = re.compile(rf"块(?P<tenths>[一二三四五六七八九\d])(?![{_HAN_DIGITS}\d])")
_HALF = re.compile(r"个?半(?=个?(?:小时|钟头|天|年|月|公里|斤|米|升|吨|千克|公斤|块|分钟))")
_HALF_ALONE = re.compile(
    r"(?<![\w])half an?(?=\s)|(?<![个\d一二三四五六七八九十])半(?=个?(?:小时|钟头|天|年))", re.IGNORECASE
)


@dataclass(frozen=True)
class Number:
    """A number, its dimension ("" without a unit), the size of its unit, and its place in the text."""

    value: Fraction
    dimension: str = ""
    factor: Fraction = Fraction(1)
    is_percent: bool = False
    is_word: bool = False
    start: int = 0
    end: int = 0

    def is_same(self, other: Number) -> bool:
        """Whether both are the same amount. If only one has a unit, the other is taken to be in it; 50% is 0.5, and 50
        if % is asked for.
        """
        if self.dimension and other.dimension:
            is_of_one = self.dimension == other.dimension
            return is_of_one and self.value * self.factor == other.value * other.factor
        if self.is_percent != other.is_percent:
            percent, bare = (self, other) if self.is_percent else (other, self)
            return bare.value in (percent.value, percent.value * 100)
        return self.value == other.value


def numbers_in(text: str) -> list[Number]:
    """Find the numbers of a text in `plain_spelling`, in order; those of one amount ("12元5角", "1 hour 15 minutes") as
    one.
    """
    found = [*_numbers_in_digits(text), *_chinese_fractions(text)]
    found.sort(key=lambda n: (n.start, -n.end))
    kept: list[Number] = []
    for number in [*found, *_numbers_in_words(text)]:
        if not any(k.start < number.end and number.start < k.end for k in kept):
            kept.append(number)
    if any(not n.is_word for n in kept):  # beside digits, words are mostly no numbers: 三角形, "one of them"
        kept = [n for n in kept if not n.is_word]
    kept.sort(key=lambda n: n.start)
    return _join_amounts([_with_unit(n, text) for n in kept], text)


def _numbers_in_digits(text: str) -> list[Number]:
    """Find numbers in digits, with signs, fractions, exponents and scales."""
    found: list[Number] = []
    for m in _DIGITS.finditer(text):
        if len(m[0]) > _MOST_DIGITS:
            continue
        before = text[m.start() - 1 : m.start()] if m.start() else ""
        if re.match(r"[A-Za-z_]", before) and not m["sign"]:
            continue  # of a name: x1, CO2
        value: Fraction | None
        if m["top"]:
            below = Fraction(m["bottom"])
            value = Fraction(m["whole"] or 0) + Fraction(m["top"]) / below if below else None
        elif m["european"]:
            value = Fraction(m["european"].replace(".", "").replace(",", "."))
        else:
            value = Fraction(re.sub("[, ]", "", m["digits"]))
            value *= Fraction(10) ** int(m["exponent"] or m["power"] or 0)
            for top, bottom in ((m["above"], m["mixed"]), (None, m["below"])):
                if bottom and not Fraction(bottom):
                    value = None
                elif bottom and value is not None:
                    value = value + Fraction(top) / Fraction(bottom) if top else value / Fraction(bottom)
        if value is None:
            continue
        value *= _SCALES[m["scale"].lower()] if m["scale"] else 1
        value /= 100 if m["percent"] else 1
        is_said = re.search(r"(?i)(?:\bnegative\s|\bminus\s|负)$", text[: m.start()]) is not None
        signed = -value if m["sign"] == "-" or is_said else value
        found.append(Number(signed, is_percent=bool(m["percent"]), start=m.start(), end=m.end()))
    return found


def _chinese_fractions(text: str) -> list[Number]:
    """Find Chinese fractions, decimals, halves and tenths."""
    found = []
    for m in _HAN_FRACTION.finditer(text):
        bottom, top = _han_value(m["bottom"]), _han_value(m["top"])
        if bottom and top is not None:
            value = (top + _decimals_of_characters(m["rest"])) / bottom + (
                _han_value(m["whole"]) or 0 if m["whole"] else 0
            )
            found.append(
                Number(
                    -value if m["minus"] else value,
                    is_percent=m["bottom"] in ("百", "一百"),
                    start=m.start(),
                    end=m.end(),
                )
            )
    for m in _HAN_DECIMAL.finditer(text):
        whole = _han_value(m["whole"])
        if whole is not None:
            value = whole + _decimals_of_characters(m["rest"])
            found.append(Number(-value if m["minus"] else value, start=m.start(), end=m.end()))
    found += [Number(Fraction(1, 2), start=m.start(), end=m.end()) for m in _HALF_ALONE.finditer(text)]
    for m in _TENTHS.finditer(text):
        tens, units = _han_value(m["tens"]), _han_value(m["units"]) if m["units"] else Fraction(0)
        if tens is not None and units is not None:
            found.append(Number(tens / 10 + units / 100, is_percent=True, start=m.start(), end=m.end()))
    return found


def _decimals_of_characters(digits: str | None) -> Fraction:
    if not digits:
        return Fraction(0)
    return Fraction("0." + "".join(str("零一二三四五六七八九".index(c.replace("〇", "零"))) for c in digits))


def _han_value(text: str) -> Fraction | None:
    """Return the value of a whole Chinese number, or None if it is none."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return Fraction(text)
    if text == "百":
        return Fraction(100)
    found = numbers_in_words(text)
    return Fraction(found[0][1]) if len(found) == 1 and found[0][0] == text else None


def _numbers_in_words(text: str) -> list[Number]:
    """Find numbers in words. A single sign such as 一 or a "one" is mostly none: a unit, a counter or nothing must
    follow.
    """
    found, at = [], 0
    for written, value in numbers_in_words(text):
        start = text.find(written, at)
        at = end = start + len(written)
        before = re.search(r"(?:负|\b(?:minus|negative)\s)$", text[:start], re.IGNORECASE)
        follows = text[end : end + 1]
        is_lone = written in ("one", "One") or (
            len(written) == 1 and follows not in "个只本人元块岁年月天斤米公分小次条张名倍种箱辆双件位层刻"
        )
        if is_lone and not (before or (not follows.strip() or follows in ".,。，;；")):
            continue
        if re.match(r"[A-Za-z]", text[start - 1 : start] or " "):
            continue
        exact = Fraction(-value if before else value)
        found.append(Number(exact, is_word=before is None, start=before.start() if before else start, end=end))
    return found


def _with_unit(number: Number, text: str) -> Number:
    """Add the unit behind the number, or the sign of money before it."""
    before = _MONEY_BEFORE.search(text[: number.start])
    if before:
        unit = unit_at(before[0].strip(), 0)
        if unit:
            return replace(number, dimension=unit[0], factor=unit[1], start=before.start())
    at = number.end
    half = Fraction(0)
    extra = _HALF.match(text, at)
    if extra:
        half, at = Fraction(1, 2), extra.end()
    blank = re.compile(r"\s?-?(?=\S)").match(text, at)
    unit = unit_at(text, blank.end() if blank else at) if not number.is_percent else None
    if unit is None:
        return number
    dimension, factor, end = unit
    behind = re.compile(r"半(?!\w)").match(text, end)
    if behind:
        half, end = Fraction(1, 2), behind.end()
    tail = _MONEY_TAIL.match(text, end - 1) if dimension == "yuan" else None
    tenths = _han_value(tail["tenths"]) if tail else None
    if tail and tenths is not None:
        return replace(number, value=number.value + tenths / 10, dimension=dimension, factor=factor, end=tail.end())
    return replace(number, value=number.value + half, dimension=dimension, factor=factor, end=end)


def _join_amounts(numbers: list[Number], text: str) -> list[Number]:
    """Join the parts of one amount, and drop numbers inside of units."""
    kept: list[Number] = []
    for number in numbers:
        last = kept[-1] if kept else None
        if last is not None and number.start < last.end:
            continue  # inside of a unit: cm^2
        is_part = (
            last is not None
            and last.dimension == number.dimension != ""
            and number.factor < last.factor
            and re.fullmatch(r"\s?(?:and\s|零)?", text[last.end : number.start]) is not None
        )
        if is_part and last is not None:
            value = last.value + number.value * number.factor / last.factor
            kept[-1] = replace(last, value=value, end=number.end)
        else:
            kept.append(number)
    return kept


def last_number(text: str) -> str:
    """Return the last number of a text in digits, thousands without commas and no zeros at the end, or "" if there is
    none.
    """
    text = plain_spelling(text)
    found = _numbers_in_digits(text)
    if not found:
        return ""
    last = found[-1]
    if last.value.denominator == 1:
        return str(last.value.numerator)
    written = text_of(last.value)
    is_fraction = re.search(r"[/\\]", text[last.start : last.end]) is not None
    return f"{last.value.numerator}/{last.value.denominator}" if is_fraction or not written else written


def text_of(value: Fraction) -> str:
    """Format a finite decimal, without zeros at its end. Returns "" if it has none."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return ""
    num_places = value.denominator.bit_length()  # as many as 2 has factors in it, or more
    digits = f"{abs(value.numerator) * 10**num_places // value.denominator:0{num_places + 1}d}"
    whole, places = digits[:-num_places], digits[-num_places:].rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if places else ''}{places}"

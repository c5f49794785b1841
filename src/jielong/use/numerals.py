"""Numerals in words, in English and Chinese: "twenty-three", "三千零五"."""

from __future__ import annotations

import re

_ONES = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_WORD = "|".join([*_ONES, *_TENS, "hundred", *_LARGE])
_ENGLISH = re.compile(rf"\b(?:{_WORD})\b(?:(?:[\s-]+|\s+and\s+)(?:{_WORD})\b)*", re.IGNORECASE)

_DIGITS = {**{c: value for value, c in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_HAN_LARGE = {"万": 10**4, "亿": 10**8}
_HAN = re.compile(f"[{''.join([*_DIGITS, *_PLACES, *_HAN_LARGE])}]+")

_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_ONES)[1:10])}))?|{'|'.join(list(_ONES)[19:0:-1])})"
_PART = rf"(?:{_SMALL} hundred(?:(?: and)? {_SMALL})?|{_SMALL})"
_WHOLE_ENGLISH = re.compile(
    rf"zero|(?=\w)(?!and)(?:{_PART} billion)?(?:(?:^| ){_PART} million)?(?:(?:^| ){_PART} thousand)?(?:(?:^| )(?:and )?{_PART})?"
)
# below 万; 两 stands before a place alone
_SECTION = "(?:[一二两三四五六七八九]千)?(?:零?[一二两三四五六七八九]百)?(?:零?[一二三四五六七八九]?十)?(?:零?[一二三四五六七八九])?"
_WHOLE_HAN = re.compile(rf"(?:{_SECTION}万?亿)?(?:零?{_SECTION}万)?(?:零?{_SECTION})?|[{''.join(_DIGITS)}]")
_DIGIT_BY_DIGIT = re.compile(r"[〇零一二三四五六七八九]{3,}|[一二三四五六七八九][〇零]")
_SHORTENED = re.compile("[百千][一二两三四五六七八九](?![十百])|[万亿][一二两三四五六七八九](?![十百千万亿])")

_END = "(?![a-z])"  # and not \b, which sees no end in "five⁴" and "five乘"
_WORDS_AT = re.compile(rf"(?:{_WORD}){_END}(?:(?:-|\s+(?:and\s+)?)(?:{_WORD}){_END})*|{_HAN.pattern}", re.IGNORECASE)
_PARTS = {word: str(value) for word, value in [*list(_ONES.items())[:10], *_DIGITS.items()]}
_POINT = re.compile(
    rf"\s+point((?:\s+(?:{'|'.join(list(_ONES)[:10])}){_END})+)|点([〇零一二三四五六七八九]+)", re.IGNORECASE
)


def words_at(text: str, at: int) -> str:
    """Return the number words that stand together at a place of the text, or "" if none begins there."""
    found = _WORDS_AT.match(text, at)
    return found[0] if found else ""


def decimals_at(text: str, at: int) -> tuple[str, str]:
    """Return the words of decimals at a place, " point one four" or "点一四", and their digits, "14"; twice "" without
    them.
    """
    found = _POINT.match(text, at)
    if not found:
        return "", ""
    words = found[1].lower().split() if found[1] else list(found[2])
    return found[0], "".join(_PARTS[word] for word in words)


def whole_number(words: str) -> int | None:
    """Return the value of words that are one well-formed number, or None if they are none or can be read in two ways.

    "五六" may be five or six; "一百二" is 120 in speech and 102 by its parts; "five six" is two numbers.
    """
    words = " ".join(words.lower().split())
    if _WHOLE_ENGLISH.fullmatch(words):
        return _english_value(words)
    if _DIGIT_BY_DIGIT.fullmatch(words):
        return _han_value(words)
    if words and _WHOLE_HAN.fullmatch(words) and not re.search("^[万亿]|亿零?万|.零$|.两$", words):
        return None if _SHORTENED.search(words) else _han_value(words)
    return None


def numbers_in_words(text: str) -> list[tuple[str, int]]:
    """Find every integer in words in a text: its spelling and its value, in order."""
    found = [(m.start(), m[0], _english_value(m[0])) for m in _ENGLISH.finditer(text)]
    found += [(m.start(), m[0], _han_value(m[0])) for m in _HAN.finditer(text)]
    return [(written, value) for _, written, value in sorted(found)]


def _english_value(text: str) -> int:
    """Return the value of English number words."""
    total = part = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _LARGE:
            total, part = total + max(part, 1) * _LARGE[word], 0
        else:
            part += _ONES.get(word, 0) + _TENS.get(word, 0)
    return total + part


def _han_value(text: str) -> int:
    """Return the value of Chinese number characters."""
    if not set(text) - set(_DIGITS):  # digit by digit: 二〇二六
        return int("".join(str(_DIGITS[c]) for c in text))
    total = part = digit = 0
    for c in text:
        if c in _DIGITS:
            digit = _DIGITS[c]
        elif c in _PLACES:
            part, digit = part + (digit or 1) * _PLACES[c], 0
        else:
            # 亿 counts all that was said before it (一万亿), 万 only what was said since
            before, since = (total, part + digit) if c == "万" else (0, total + part + digit)
            total, part, digit = before + max(since, 1) * _HAN_LARGE[c], 0, 0
    return total + part + digit

"""Numbers that are written in words, in English and Chinese: "twenty-three", "三千零五"."""

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


def numbers_in_words(text: str) -> list[tuple[str, int]]:
    """Every whole number that stands in a text in words: how it is written and its value, in order."""
    found = [(m.start(), m[0], _english(m[0])) for m in _ENGLISH.finditer(text)]
    found += [(m.start(), m[0], _han(m[0])) for m in _HAN.finditer(text)]
    return [(written, value) for _, written, value in sorted(found)]


def _english(text: str) -> int:
    total = part = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _LARGE:
            total, part = total + max(part, 1) * _LARGE[word], 0
        else:
            part += _ONES.get(word, 0) + _TENS.get(word, 0)
    return total + part


def _han(text: str) -> int:
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

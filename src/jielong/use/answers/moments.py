"""Dates and times of day in a text, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from jielong.use.numerals import numbers_in_words

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "|".join([*_MONTHS, *(f"{m[:3]}\\.?" for m in _MONTHS), "sept\\.?"])
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_HAN = "零〇一二两三四五六七八九十"
_NUM = rf"(?:\d{{1,4}}|[{_HAN}]+)"

_DATES = [
    re.compile(p, re.IGNORECASE)
    for p in (
        r"(?<!\d)(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)",
        rf"(?<![a-z])(?P<name>{_MONTH})\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<y>\d{{4}})(?!\d)",
        rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<name>{_MONTH}),?\s(?:of\s)?(?P<y>\d{{4}})(?!\d)",
        rf"(?<![a-z])(?P<name>{_MONTH})\s(?:of\s)?(?P<y>\d{{4}})(?!\d)",
        rf"(?<![a-z])(?P<name>{_MONTH})\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:])",
        rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<name>{_MONTH})(?![a-z])",
        r"(?<!\d)(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<y>\d{4})(?!\d)",
        rf"(?P<bc>公?元?前)?(?P<y>{_NUM})年(?:(?P<m>{_NUM})月(?:(?P<d>{_NUM})[日号])?)?",
        rf"(?P<m>{_NUM})月(?P<d>{_NUM})[日号]",
        r"(?<!\d)(?P<y>\d{1,4})\s(?P<bc>B\.?C\.?(?:E\.?)?)(?![a-z])",
        r"(?<!\d)(?P<y>\d{1,4})\s(?P<ad>A\.?D\.?|C\.?E\.?)(?![a-z])",
        rf"(?<![a-z])(?P<weekday>{'|'.join(_DAYS)})(?![a-z])",
        r"(?:星期|礼拜|周)(?P<weekday>[一二三四五六日天])",
    )
]


class _Placed(Protocol):
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


T = TypeVar("T", bound=_Placed)


def _read_all(text: str, patterns: Iterable[re.Pattern[str]], read: Callable[[re.Match[str]], T | None]) -> list[T]:
    """Apply `read` to all matches of the patterns, in the order of the text; earlier patterns win if two overlap."""
    found: list[T] = []
    for pattern in patterns:
        for m in pattern.finditer(text):
            one = read(m)
            if one and not any(f.start < one.end and one.start < f.end for f in found):
                found.append(one)
    return sorted(found, key=lambda one: one.start)


@dataclass(frozen=True)
class Date:
    """The stated parts of a date; 0 or -1 for the others. Years before our era are negative."""

    year: int = 0
    month: int = 0
    day: int = 0
    weekday: int = -1
    start: int = 0
    end: int = 0

    def says(self, other: Date) -> bool:
        """Whether it states all that `other` states, and the same."""
        pairs = ((self.year, other.year, 0), (self.month, other.month, 0), (self.day, other.day, 0))
        return all(b in (none, a) for a, b, none in (*pairs, (self.weekday, other.weekday, -1)))


def dates_in(text: str) -> list[Date]:
    """Find the dates of a text in `plain_spelling`, in order."""
    return _read_all(text, _DATES, _read_date)


def _read_date(m: re.Match[str]) -> Date | None:
    """Build a date from a match. Returns None if its numbers make no date."""
    parts = {name: value for name, value in m.groupdict().items() if value}
    if "weekday" in parts:
        said = parts["weekday"].lower()
        index = _DAYS.index(said) if said in _DAYS else min("一二三四五六日天".index(said), 6)
        return Date(weekday=index, start=m.start(), end=m.end())
    year, month, day = (_read_integer(parts.get(name, "0")) for name in ("y", "m", "d"))
    if "name" in parts:
        month = next(i for i, full in enumerate(_MONTHS, 1) if full[:3] == parts["name"][:3].lower())
    if "first" in parts:
        first, second = int(parts["first"]), int(parts["second"])
        month, day = (second, first) if first > 12 else (first, second)
    if (
        0 < year < 100
        and "bc" not in parts
        and "ad" not in parts
        and not month
        and "公元" not in m.string[: m.start()][-2:]
    ):
        return None  # 15年 is how long something takes
    if month > 12 or day > 31:
        return None
    return Date(-year if "bc" in parts else year, month, day, start=m.start(), end=m.end())


def _read_integer(text: str) -> int:
    """Read an integer in digits or words, or 0 if it is none."""
    if text.isdigit():
        return int(text)
    found = numbers_in_words(text)
    return found[0][1] if found else 0


# --- times of day

_HOURS = "one two three four five six seven eight nine ten eleven twelve".split()
_HOUR = rf"(?:\d{{1,2}}|{'|'.join(_HOURS)})"
_PART = r"(?:凌晨|清晨|早上|早晨|上午|中午|下午|午后|傍晚|晚上|夜里|深夜|晚)"
_HALF_DAY = r"(?:\s?(?P<half>[ap])\.?\s?m\b\.?)"
_SAID = r"(?P<said>(?:in the (?:morning|afternoon|evening))|at night)"
_MINUTES = {"quarter": 15, "half": 30, "twenty-five": 25, "twenty five": 25, "twenty": 20, "ten": 10, "five": 5}
_TIMES = [
    re.compile(p, re.IGNORECASE)
    for p in (
        rf"(?P<part>{_PART})?\s?(?<![\d:.])(?P<h>\d{{1,2}}):(?P<min>\d\d)(?::\d\d)?(?![\d:]){_HALF_DAY}?",
        rf"(?<![\d.])(?P<h>\d{{1,2}}){_HALF_DAY}",
        rf"(?P<past>half|(?:a\s)?quarter|{'|'.join(_MINUTES)}|\d{{1,2}})(?:\sminutes?)?\s(?P<way>past|after|to|before)\s(?P<h>{_HOUR})(?![a-z\d]){_HALF_DAY}?",
        rf"(?P<h>{_HOUR})\so['’ ]?\s?clock(?:{_HALF_DAY}|\s{_SAID})?",
        rf"(?<![\d.:])(?P<h>\d{{1,2}}|{'|'.join(_HOURS)})\s{_SAID}",
        r"(?<![a-z])(?P<word>noon|midday|midnight)(?![a-z])|(?P<han_word>正午|午夜)",
        rf"(?P<part>{_PART})?差(?P<less>{_NUM}|一刻)分?(?P<h>{_NUM})[点时]",
        rf"(?P<part>{_PART})?(?P<h>{_NUM})[点时](?!间|候|代)钟?(?:(?P<han_half>半)|(?P<quarters>[一三])刻|过?(?P<min>{_NUM})分?)?(?:差(?P<less>{_NUM})分)?",
    )
]


@dataclass(frozen=True)
class Time:
    """Minutes after midnight. `is_marked`: whether it is clear which half of the day is meant."""

    minutes: int
    is_marked: bool = False
    start: int = 0
    end: int = 0

    def is_same(self, other: Time) -> bool:
        half = 24 * 60 if self.is_marked and other.is_marked else 12 * 60
        return self.minutes % half == other.minutes % half


def times_in(text: str) -> list[Time]:
    """Find the times of day of a text in `plain_spelling`, in order."""
    return _read_all(text, _TIMES, _read_time)


def _read_time(m: re.Match[str]) -> Time | None:
    """Build a time of day from a match. Returns None if its numbers make none."""
    parts = {name: value.lower() for name, value in m.groupdict().items() if value}
    word = parts.get("word") or parts.get("han_word")
    if word:
        return Time(0 if word in ("midnight", "午夜") else 720, True, m.start(), m.end())
    said = parts["h"]
    hour = _HOURS.index(said) + 1 if said in _HOURS else _read_integer(said)
    minutes = _read_integer(parts.get("min", "0"))
    minutes += 30 * ("han_half" in parts) + (15 * (1 if parts["quarters"] == "一" else 3) if "quarters" in parts else 0)
    if "less" in parts:
        minutes -= 15 if parts["less"] == "一刻" else _read_integer(parts["less"])
    if "past" in parts:
        name = parts["past"].removeprefix("a ")
        amount = _MINUTES.get(name) or (int(name) if name.isdigit() else 0)
        minutes += amount if parts["way"] in ("past", "after") else -amount
    if hour > 24 or not -60 < minutes < 60:
        return None
    half, part = parts.get("half"), parts.get("part", "")
    is_night = part in ("晚上", "晚", "夜里", "深夜") or parts.get("said") == "at night"
    if "said" in parts:
        half = "a" if "morning" in parts["said"] or (is_night and hour < 6) else "p"
    is_late = (
        (half == "p" and not (is_night and hour == 12))
        or part in ("下午", "午后", "傍晚")
        or (part == "中午" and hour < 11)
        or (part in ("晚上", "晚") and hour != 12)
        or (part in ("夜里", "深夜") and 6 <= hour < 12)
    )
    is_marked = bool(half or part) or hour > 12 or hour == 0
    if is_late and hour < 12:
        hour += 12
    elif (half == "a" or part == "凌晨" or is_night) and hour == 12:
        hour = 0
    return Time((60 * hour + minutes) % 1440, is_marked, m.start(), m.end())

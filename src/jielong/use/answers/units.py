"""Units of measure in English and Chinese: the dimension of each, and its size in the base unit."""

from __future__ import annotations

import functools
import re
from fractions import Fraction

_F = Fraction
_INCH, _POUND = _F(254, 10_000), _F(45_359_237, 100_000)

_TABLE: dict[str, dict[str, Fraction]] = {
    "length": {
        "mm|millimet(?:er|re)s?|毫米": _F(1, 1000),
        "cm|centimet(?:er|re)s?|厘米|公分": _F(1, 100),
        "dm|decimet(?:er|re)s?|分米": _F(1, 10),
        "m|met(?:er|re)s?|米": _F(1),
        "km|kilomet(?:er|re)s?|千米|公里": _F(1000),
        "里(?!程)": _F(500),
        "in|inch(?:es)?|英寸": _INCH,
        "ft|foot|feet|英尺": 12 * _INCH,
        "yd|yards?|码": 36 * _INCH,
        "mi|miles?|英里": 63_360 * _INCH,
    },
    "mass": {
        "mg|milligram(?:me)?s?|毫克": _F(1, 1000),
        "g|gram(?:me)?s?|克": _F(1),
        "两": _F(50),
        "斤": _F(500),
        "kg|kilos?|kilogram(?:me)?s?|千克|公斤": _F(1000),
        "t|tons?|tonnes?|吨": _F(1_000_000),
        "oz|ounces?|盎司": _POUND / 16,
        "lbs?|pounds?|磅": _POUND,
    },
    "time": {
        "ms|milliseconds?|毫秒": _F(1, 1000),
        "s|secs?|seconds?|秒钟?": _F(1),
        "min|mins|minutes?|分钟|分": _F(60),
        "刻钟": _F(900),
        "h|hrs?|hours?|个?小时|个?钟头": _F(3600),
        "days?|天": _F(86_400),
        "weeks?|周|个?星期": _F(604_800),
    },
    "volume": {
        "ml|millilit(?:er|re)s?|毫升|立方厘米|cm\\^3|cubic centimet(?:er|re)s?": _F(1, 1000),
        "l|L|lit(?:er|re)s?|升|立方分米|dm\\^3": _F(1),
        "m\\^3|cubic met(?:er|re)s?|立方米": _F(1000),
    },
    "angle": {"°|deg(?:rees?)?|度": _F(1)},
    "celsius": {"°c|℃|degrees celsius|摄氏度": _F(1)},
    "fahrenheit": {"°f|℉|degrees fahrenheit|华氏度": _F(1)},
    "dollars": {"\\$|dollars?|usd|美元|美金": _F(1), "cents?|美分": _F(1, 100)},
    "euros": {"€|euros?|eur|欧元": _F(1)},
    "sterling": {"£|gbp|英镑": _F(1)},
    "yen": {"yen|jpy|日元": _F(1)},
    "yuan": {"¥|yuan|cny|rmb|元人民币|人民币|元|块钱?": _F(1), "角|毛钱?": _F(1, 10)},
    "speed": {
        "km/h|kph|kmh|kilomet(?:er|re)s per hour|(?:千米|公里)(?:/|每)(?:小时|时)": _F(1000, 3600),
        "m/s|met(?:er|re)s per second|米(?:/|每)秒": _F(1),
        "mph|miles per hour|英里(?:/|每)(?:小时|时)": 63_360 * _INCH / 3600,
    },
    "voltage": {"mV|毫伏": _F(1, 1000), "V|[Vv]olts?|伏特?": _F(1), "kV|千伏": _F(1000)},
    "current": {"mA|毫安": _F(1, 1000), "A|[Aa]mps?|[Aa]mperes?|安培?": _F(1)},
    "power": {
        "mW|毫瓦": _F(1, 1000),
        "W|[Ww]atts?|瓦特?": _F(1),
        "kW|[Kk]ilowatts?|千瓦": _F(1000),
        "MW|兆瓦": _F(10**6),
    },
    "energy": {"J|[Jj]oules?|焦耳?": _F(1), "kJ|千焦": _F(1000), "cal|卡": _F(4184, 1000), "kcal|千卡|大卡": _F(4184)},
    "force": {"N|[Nn]ewtons?|牛顿?": _F(1), "kN|千牛": _F(1000)},
    "pressure": {"Pa|帕": _F(1), "kPa|千帕": _F(1000), "MPa|兆帕": _F(10**6)},
    "frequency": {"Hz|赫兹?": _F(1), "kHz|千赫": _F(1000), "MHz|兆赫": _F(10**6), "GHz": _F(10**9)},
    "resistance": {"Ω|[Oo]hms?|欧姆?": _F(1), "kΩ|千欧": _F(1000)},
    "amount": {"mol|摩尔": _F(1)},
    "acceleration": {"m/s\\^2|met(?:er|re)s? per second squared|米每二次方秒|米每平方秒|米/秒\\^2": _F(1)},
    "bytes": {"kb": _F(10**3), "mb": _F(10**6), "gb": _F(10**9), "tb": _F(10**12)},
    "area": {
        "mm\\^2|square millimet(?:er|re)s?|平方毫米": _F(1, 10**6),
        "cm\\^2|sq\\.? ?cm|square centimet(?:er|re)s?|平方厘米": _F(1, 10**4),
        "dm\\^2|平方分米": _F(1, 100),
        "m\\^2|sq\\.? ?m|square met(?:er|re)s?|平方米|平米": _F(1),
        "km\\^2|square kilomet(?:er|re)s?|平方千米|平方公里": _F(10**6),
        "hectares?|ha|公顷": _F(10**4),
        "acres?|英亩": 4840 * (36 * _INCH) ** 2,
        "亩": _F(2000, 3),
        "ft\\^2|square (?:feet|foot)": (12 * _INCH) ** 2,
    },
}


def _split(patterns: str) -> list[str]:
    """Split a pattern into its alternatives, leaving those inside of brackets alone."""
    return re.findall(r"(?:\((?:[^()]|\([^()]*\))*\)|\\.|[^|(])+", patterns)


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a unit's pattern; a symbol with capitals, or of one letter, is case-sensitive: mW is not MW."""
    is_exact = re.search("[A-Z]", pattern) or re.fullmatch("[a-z]", pattern)
    bounded = rf"(?:{pattern})(?![a-zA-Z^])" if re.search("[a-zA-Z]", pattern) else pattern
    return re.compile(bounded, 0 if is_exact else re.IGNORECASE)


@functools.cache
def units() -> list[tuple[re.Pattern[str], str, Fraction]]:
    """Return patterns, each with its dimension and its size in the base unit; compiled when first asked for."""
    return [
        (_compiled(p), dimension, factor)
        for dimension, of_dimension in _TABLE.items()
        for patterns, factor in of_dimension.items()
        for p in _split(patterns)
    ]


def unit_at(text: str, at: int) -> tuple[str, Fraction, int] | None:
    """Find the longest unit at a place of a text: its dimension, its size, and its end."""
    found = [(m.end(), dimension, factor) for pattern, dimension, factor in units() if (m := pattern.match(text, at))]
    if not found:
        return None
    end, dimension, factor = max(found, key=lambda one: one[0])
    return dimension, factor, end

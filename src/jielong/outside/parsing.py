"""JSON held to limits that no honest file meets: nesting, digits of a number, NaN, a key given twice."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from typing import Any

from jielong.errors import DataError

MAX_DEPTH = 100
"""Objects and lists within each other. A chat has six of them; a few hundred exhaust whoever walks through."""

MAX_DIGITS = 300
"""Of one number: more than a float can tell apart, and time that grows with the square."""


def parse_json(text: str, *, nan: bool = False) -> Any:
    """Parse JSON within limits. Raises DataError, which says what is wrong, without the place where the text came from.

    With `nan` it may hold NaN and infinities, as our own figures may.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    try:
        found = json.loads(
            text,
            object_pairs_hook=_refuse_repeated_keys,
            parse_constant=float if nan else _refuse_constant,
            parse_int=_parse_integer,
            parse_float=_parse_float,
        )
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels") from None
    if "\\u" in text and _HALVES.search(text):
        _check_surrogates(found)
    return found


_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
# one that is never closed goes on to the end: looked for from each of its quotes anew, it would cost the square
_STRING = re.compile(r'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)


_NO_MARKS = re.compile(r"[^\[\]{}]+")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def _check_depth(text: str) -> None:
    """Raise DataError if the brackets of a JSON text are nested too deep."""
    marks = _NO_MARKS.sub("", _STRING.sub("", text))
    if max(itertools.accumulate(map(_STEPS.__getitem__, marks)), default=0) > MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of an object's pairs. Raises DataError if a key stands twice. The hook for `json.loads`."""
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise DataError(f"the key {twice!r} stands twice in one object")
    return made


def _refuse_constant(name: str) -> float:
    raise DataError(f"{name} is no number in JSON; expected a finite number or null")


def _parse_integer(digits: str) -> int:
    """Parse a JSON integer. Raises DataError if it has too many digits."""
    if len(digits) > MAX_DIGITS:
        raise DataError(f"a number has {len(digits)} digits; at most {MAX_DIGITS} are read")
    return int(digits)


def _parse_float(digits: str) -> float:
    """Parse a JSON number. Raises DataError if it overflows to infinity."""
    number = float(digits)
    if math.isinf(number):
        raise DataError(f"{digits} is larger than any number that can be computed with")
    return number


def _check_surrogates(value: Any) -> None:
    """Raise DataError for half a surrogate pair, which JSON escapes can name and no encoding can write."""
    if isinstance(value, str):
        half = re.search("[\ud800-\udfff]", value)
        if half:
            raise DataError(f"\\u{ord(half[0]):04x} stands alone, which is half of a character")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_surrogates(key)
            _check_surrogates(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_surrogates(inner)


def kind_of(value: Any) -> str:
    """Name the kind of a parsed value in JSON's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def shorten_value(value: Any, size: int = 60) -> str:
    """Format a parsed value for an error sentence, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= size else f"{text[: size - 3]}..."

"""The shape of JSON of others: fields taken one at a time, each of its kind and within its bounds, or refused by name.

A reader that takes its fields from here meets no value of another kind further on, where it would be a traceback, and no
number that asks for more memory than there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from jielong.errors import DataError, JielongError, did_you_mean
from jielong.outside.parsing import kind_of, shorten_value

_REQUIRED: Any = object()
MOST = 2**63 - 1
"""Of a whole number where nothing smaller is right: what 64 bits hold."""


class Fields:
    """One JSON object, whose fields are taken one at a time.

    `where` begins every sentence, `error` is the kind that is raised. A field that is not there is its default, or
    refused if it has none; null is allowed if the default is null.
    """

    def __init__(self, data: Any, where: str, error: type[JielongError] = DataError) -> None:
        self.where, self.error = where, error
        if not isinstance(data, dict):
            raise error(f"{where} is {kind_of(data)}; expected an object")
        self.data: dict[str, Any] = data
        self.taken: set[str] = set()

    def wrong(self, name: str, expected: str) -> NoReturn:
        raise self.error(f"{self.where} has {name} = {shorten_value(self.data.get(name))}; expected {expected}")

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a field, of any kind, or its default if the object lacks it."""
        self.taken.add(name)
        value = self.data.get(name, default)
        if value is _REQUIRED:
            raise self.error(f"{self.where} lacks the field {name!r}")
        return value

    def _take_checked(self, name: str, default: Any, is_right: Callable[[Any], bool], expected: str) -> Any:
        """Take a field; refuse it as not `expected` unless `is_right` accepts it, or it is null and null is the
        default.
        """
        value = self.take(name, default)
        if not (value is None and default is None) and not is_right(value):
            self.wrong(name, expected)
        return value

    def whole(
        self, name: str, default: Any = _REQUIRED, *, low: int = 0, high: int = MOST, or_null: bool = False
    ) -> Any:
        """Take an integer from `low` to `high`; `or_null` allows null too."""

        def is_right(value: Any) -> bool:
            return is_whole(value, low, high) or (or_null and value is None)

        return self._take_checked(name, default, is_right, f"a whole number from {low} to {high}")

    def number(self, name: str, default: Any = _REQUIRED, *, low: float = -math.inf, high: float = math.inf) -> Any:
        bounds = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
        return self._take_checked(name, default, lambda value: is_number(value, low, high), f"a finite number{bounds}")

    def flag(self, name: str, default: Any = _REQUIRED) -> Any:
        return self._take_checked(name, default, lambda value: isinstance(value, bool), "true or false")

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        return self._take_checked(name, default, lambda value: isinstance(value, str), "a string")

    def texts(self, name: str, default: Any = _REQUIRED) -> Any:
        """Take a list of strings."""

        def is_right(value: Any) -> bool:
            return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)

        return self._take_checked(name, default, is_right, "a list of strings")

    def wholes(self, name: str, default: Any = _REQUIRED, *, low: int = 0, high: int = MOST) -> Any:
        """Take a list of integers from `low` to `high`."""

        def is_right(value: Any) -> bool:
            return isinstance(value, (list, tuple)) and all(is_whole(one, low, high) for one in value)

        return self._take_checked(name, default, is_right, f"a list of whole numbers from {low} to {high}")

    def inner(self, name: str, default: Any = _REQUIRED) -> Fields:
        """Take the object in a field as Fields; one that is null or missing is empty, if the default allows it."""
        value = self.take(name, default)
        return Fields({} if value is None and default is None else value, f"{name} of {self.where}", self.error)

    def inners(self, name: str, default: Any = _REQUIRED) -> list[Fields]:
        """Take a list of objects, each as Fields."""
        value = self.take(name, default)
        if value is None and default is None:
            return []
        if not isinstance(value, (list, tuple)):
            self.wrong(name, "a list of objects")
        return [Fields(one, f"{name}[{at}] of {self.where}", self.error) for at, one in enumerate(value)]

    def demand(self, name: str, *allowed: Any) -> None:
        """Refuse any value of a field but these, of which the first is the default."""
        value = self.take(name, allowed[0])
        if value not in allowed:
            raise self.error(f"{self.where} has {name} = {value!r:.80}; this version computes {allowed[0]!r}")

    def finish(self, neutral: Collection[str] = ()) -> None:
        """Refuse fields that nobody has taken, but for `neutral` ones, which change nothing."""
        for name in self.data:
            if name not in self.taken and name not in neutral:
                raise self.error(f"{self.where} has an unknown field {name!r}; {did_you_mean(name, self.taken)}")


def is_whole(value: Any, low: int = 0, high: int = MOST) -> bool:
    return type(value) is int and low <= value <= high


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether the value is a finite number that a float can hold, within these bounds."""
    if type(value) is int:
        return abs(value) < 10**300 and low <= value <= high
    return type(value) is float and math.isfinite(value) and low <= value <= high


def is_name(text: str) -> bool:
    """Whether a file or a folder can have this name, and lies in the folder where it is looked for."""
    return bool(text) and text not in (".", "..") and not {"/", "\0"} & set(text) and len(text.encode()) < 256

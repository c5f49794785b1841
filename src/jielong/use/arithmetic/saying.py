"""Powers, shares and roots in words, and the reach that they have."""

from __future__ import annotations

from jielong.errors import DataError
from jielong.use.arithmetic.tokens import Token

ROOTS = ("√", "cbrt", "root4")


def check_said(found: list[Token]) -> None:
    """Refuse a power, share or root in words beside an operation that it may or may not reach over: 3加4的平方."""
    for at, token in enumerate(found):
        is_behind = token.kind == "的" or (token.is_word and token.kind == "power")
        if is_behind and found[at - 1].kind != ")" and _has_operation(found, range(at - 1, 0, -1), ("(", ",")):
            raise power_is_unclear()
        is_before = token.is_word and token.kind in ROOTS
        if is_before and found[at + 1].kind != "(" and _has_operation(found, range(at + 2, len(found)), (")", ",")):
            raise power_is_unclear()


def _has_operation(found: list[Token], places: range, ends: tuple[str, str]) -> bool:
    """Whether a binary + - * / stands at one of these places before the bracket closes."""
    depth = 0
    for place in places:
        kind = found[place].kind
        if not depth and kind in ends:
            return False
        depth += {"(": 1, ")": -1}.get(kind, 0) * (1 if ends[0] == ")" else -1)
        if (
            not depth
            and kind in ("+", "-", "*", "/")
            and found[place - 1].kind in ("number", "name", ")", "power", "!", "%", "percent")
        ):
            return True
    return False


def power_is_unclear() -> DataError:
    """Return the error for a power, root or share whose reach is unclear."""
    return DataError(
        "a power, root or share is read in two ways there; write brackets, as in (2^3)^2, -(3^2) or (-3)^2"
    )


def mod_is_unclear() -> DataError:
    """Return the error for mod beside another operation."""
    return DataError("mod beside another operation is read in two ways; write brackets, as in (17 mod 5) + 1")

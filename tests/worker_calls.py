"""Functions for a worker to call."""

from __future__ import annotations

import os
import re
import sys

from jielong.errors import DataError, LimitError

held: list[bytearray] = []


def echo(value: object) -> object:
    print("a library says something")
    return value


def misbehave(how: str) -> object:
    """Do what is asked for; "same" gives the number of the process."""
    if how == "same":
        return os.getpid()
    if how == "loop":
        while True:
            pass
    if how == "match":  # in C, which hears nothing
        return re.match(r"(a+)+$", "a" * 60 + "b")
    if how == "grow":
        while True:
            held.append(bytearray(10_000_000))
    if how == "leak":
        held.append(bytearray(b"x" * 30_000_000))
        return len(held)
    if how == "huge":
        return len(bytes(1 << 40))
    if how == "die":
        os._exit(3)
    if how == "refuse":
        raise DataError("it is no table")
    if how == "refuse as too large":
        raise LimitError("it is too large", "too large")
    if how == "torch":
        return "torch" in sys.modules or "numpy" in sys.modules
    raise ZeroDivisionError(how)

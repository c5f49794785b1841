"""Figures as text, for the terminal and for files beside a run's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def shares_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Format a table with a column for each mapping and a line for each of their names, in percent; shares are in [0,
    1].
    """
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    lines = ["".join([" " * width, *(f"  {column:>17}" for column in columns)])]
    lines += ["".join([f"{n:<{width}}", *(f"  {100 * f[n]:>16.1f}%" for f in columns.values())]) for n in names]
    return "\n".join(lines) + "\n"


def shorten_names(names: Sequence[str], most: int) -> list[str]:
    """Shorten different names by the parts with which all of them begin and end.

    Parts are those of paths and addresses, and only where one is still longer than `most`, the words within them.
    """
    short = list(names)
    for ends in ("/# ", "-_/# "):
        if max(map(len, short)) > most:
            tried = _strip_shared_parts([re.findall(rf"[^{ends}]*[{ends}]+|[^{ends}]+", name) for name in names], ends)
            short = tried if len(set(tried)) == len(set(names)) > 1 else short
    return short


def _strip_shared_parts(names: Sequence[Sequence[str]], ends: str) -> list[str]:
    """Drop the first and last parts that all names share; at least a part of each stays."""
    most = min(map(len, names)) - 1
    first = _num_shared([parts[:most] for parts in names])
    last = _num_shared([[part.strip(ends) for part in reversed(parts[first:])] for parts in names])
    last = min(last, most - first)
    return ["".join(parts[first : len(parts) - last]).strip(ends) for parts in names]


def _num_shared(names: Sequence[Sequence[str]]) -> int:
    """Count the equal parts with which all names begin."""
    at = 0
    while at < min(map(len, names)) and len({parts[at] for parts in names}) == 1:
        at += 1
    return at

"""Figures as text, for the terminal and for files beside a run's."""

from __future__ import annotations

from collections.abc import Mapping


def shares_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """A column for each mapping, a line for each of their names, in percent; shares are in [0, 1]."""
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    lines = ["".join([" " * width, *(f"  {column:>17}" for column in columns)])]
    lines += ["".join([f"{n:<{width}}", *(f"  {100 * f[n]:>16.1f}%" for f in columns.values())]) for n in names]
    return "\n".join(lines) + "\n"

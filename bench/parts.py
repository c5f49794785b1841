"""Benchmarks made of parts: each part is a module of a package, and writes bench/results/PACKAGE_PART.json."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from bench.environments import Unavailable
from bench.rows import Row, write_rows
from jielong.errors import did_you_mean


def parser_for(package: ModuleType, parts: Sequence[str]) -> argparse.ArgumentParser:
    """Make a parser that takes the names of parts."""
    parser = argparse.ArgumentParser(prog=f"python -m {package.__name__}", description=package.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(parts)}; without one, all")
    return parser


def parse(parser: argparse.ArgumentParser, parts: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; its `part` holds the parts that are asked for. An unknown one ends the program."""
    chosen = parser.parse_args()
    for name in chosen.part:
        if name not in parts:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, parts)}")
    chosen.part = chosen.part or list(parts)
    return chosen


def measure(package: ModuleType, names: Sequence[str], rows_of: Callable[[Any], Iterable[Row]]) -> None:
    """Call `rows_of` with the module of each part, and write its rows. A part that cannot be measured here says why."""
    prefix = package.__name__.rpartition(".")[2]
    for name in names:
        try:
            made = list(rows_of(importlib.import_module(f"{package.__name__}.{name}")))
        except Unavailable as why:
            print(f"{name}: {why}", file=sys.stderr)
            continue
        write_rows(f"{prefix}_{name}", made)

"""All parts, or those that are named: `python -m bench.faults [PART ...] [--short] [--seed N]`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import bench.faults
from bench.rows import Row, write_rows
from jielong.errors import did_you_mean

PARTS = ("terminals", "sandboxes", "templates", "slow", "damage", "kills", "fuzz")
"""The modules of this package that try something, from the shortest to the longest."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=bench.faults.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
    parser.add_argument("--short", action="store_true", help="what CI runs: a minute or two")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    for name in arguments.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            part = importlib.import_module(f"bench.faults.{name}")
            made: list[Row] = list(part.rows(arguments.seed, short=arguments.short, folder=Path(folder)))
        write_rows(f"faults_{name}", made)


if __name__ == "__main__":
    main()

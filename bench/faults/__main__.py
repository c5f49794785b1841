"""All parts, or those that are named: `python -m bench.faults [PART ...] [--short] [--seed N]`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bench.faults
from bench.parts import measure, parse, parser_for
from bench.rows import Row

PARTS = ("terminals", "sandboxes", "templates", "slow", "damage", "kills", "fuzz")
"""The modules of this package that try something, from the shortest to the longest."""


def main() -> None:
    parser = parser_for(bench.faults, PARTS)
    parser.add_argument("--short", action="store_true", help="what CI runs: a minute or two")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parse(parser, PARTS)

    def rows(part: Any) -> list[Row]:
        """Measure one part, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            return list(part.rows(chosen.seed, short=chosen.short, folder=Path(folder)))

    measure(bench.faults, chosen.part, rows)


if __name__ == "__main__":
    main()

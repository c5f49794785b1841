"""All parts, or those that are named: `python -m bench.first_hour [PART ...] [--model MODEL ...]`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bench.first_hour
from bench.environments import Unavailable
from bench.parts import measure, parse, parser_for
from bench.rows import Row
from bench.strategies.models import default_model, is_finished

PARTS = ("citations", "talks", "answers", "speed")
READER = Path("runs/reader-default-0")


def main() -> None:
    parser = parser_for(bench.first_hour, PARTS)
    parser.add_argument(
        "--model", action="append", default=[], help="default: SmolLM2-135M, and runs/reader-default-0 if it is there"
    )
    chosen = parse(parser, PARTS)
    models = tuple(chosen.model) or _models()

    def rows(part: Any) -> list[Row]:
        """Measure one part, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            return list(part.rows(Path(folder), models))

    measure(bench.first_hour, chosen.part, rows)


def _models() -> tuple[str, ...]:
    found = []
    try:
        found.append(str(default_model()))
    except Unavailable as why:
        print(why)
    if is_finished(READER):
        found.append(str(READER))
    else:
        print(f"{READER} is not there; train it with: jielong run reader")
    return tuple(found)


if __name__ == "__main__":
    main()

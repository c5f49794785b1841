"""All parts, or those that are named: `python -m bench.first_hour [PART ...] [--model MODEL ...]`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import bench.first_hour
from bench.environments import Unavailable
from bench.rows import Row, write_rows
from bench.strategies.models import default_model, is_finished
from jielong.errors import did_you_mean

PARTS = ("citations", "talks", "answers", "speed")
READER = Path("runs/reader-default-0")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.first_hour", description=bench.first_hour.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
    parser.add_argument(
        "--model", action="append", default=[], help="default: SmolLM2-135M, and runs/reader-default-0 if it is there"
    )
    arguments = parser.parse_args()
    for name in arguments.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    models = tuple(arguments.model) or _models()
    for name in arguments.part or PARTS:
        part = importlib.import_module(f"bench.first_hour.{name}")
        with tempfile.TemporaryDirectory() as folder:
            made: list[Row] = part.rows(Path(folder), models)
        write_rows(f"first_hour_{name}", made)


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

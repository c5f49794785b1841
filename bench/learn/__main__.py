"""All parts, or those that are named: `python -m bench.learn [PART ...] --model DIR`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bench.learn
from bench.learn.judges import JUDGES
from bench.learn.setting import Setting
from bench.parts import measure, parse, parser_for
from bench.rows import Row

PARTS = ("voters", "kills", "beside", "hidden", "smollm")
"""The modules of this package that measure something, from the shortest to the longest."""


def main() -> None:
    parser = parser_for(bench.learn, PARTS)
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder of a model; of hidden, an SFT model of the quickstart",
    )
    parser.add_argument("--seeds", type=int, default=3, help="of hidden (default: 3)")
    parser.add_argument("--judges", nargs="*", default=[], choices=tuple(JUDGES), help="of hidden (default: all)")
    parser.add_argument("--judgements", type=int, default=200, help="of each circle (default: 200)")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--voters", type=int, default=20, help="random ones (default: 20)")
    parser.add_argument("--kills", type=int, default=20, help="(default: 20)")
    chosen = parse(parser, PARTS)
    counts = {name: getattr(chosen, name) for name in ("judgements", "method", "voters", "kills")}

    def rows(part: Any) -> list[Row]:
        """Measure one part, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="jielong-bench-") as folder:
            seeds, judges = tuple(range(chosen.seeds)), tuple(chosen.judges)
            return list(part.rows(Setting(chosen.model.resolve(), Path(folder), seeds, judges, **counts)))

    measure(bench.learn, chosen.part, rows)


if __name__ == "__main__":
    main()

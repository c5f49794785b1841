"""All parts, or those that are named: `python -m bench.alignment [PART ...] [--run DIR]`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench.alignment
from bench.alignment.setting import Setting
from bench.parts import measure, parse, parser_for
from bench.rows import Row

PARTS = tuple(
    part.name
    for part in pkgutil.iter_modules(bench.alignment.__path__)
    if not part.ispkg and part.name not in ("__main__", "setting")
)


def main() -> None:
    parser = parser_for(bench.alignment, PARTS)
    parser.add_argument("--run", type=Path, metavar="DIR", help="a finished run of the quickstart, for the atlas")
    parser.add_argument("--seeds", type=int, default=0, help="how many (default: as many as the part's figure asks)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/bench-alignment"),
        metavar="DIR",
        help="what is trained; the same folder goes on (default: build/bench-alignment)",
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="the environments of other trainers")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of real judgements, for real")
    parser.add_argument("--model", type=Path, metavar="DIR", help="the folder of a model of others, for real and rlaif")
    chosen = parse(parser, PARTS)

    def rows(part: Any) -> Iterable[Row]:
        """Measure one part, in a folder of its own."""
        folder = chosen.folder.resolve() / part.__name__.rpartition(".")[2]
        folder.mkdir(parents=True, exist_ok=True)
        seeds, run = tuple(range(chosen.seeds or part.SEEDS)), chosen.run and chosen.run.resolve()
        found: Iterable[Row] = part.rows(Setting(folder, seeds, run, chosen.peers, chosen.data, chosen.model))
        return found

    measure(bench.alignment, chosen.part, rows)


if __name__ == "__main__":
    main()

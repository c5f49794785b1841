"""All parts, or those that are named: `python -m bench.refinery [PART ...]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench.refinery
from bench.parts import measure, parse, parser_for
from bench.refinery.setting import Setting
from bench.rows import Row

PARTS = ("extraction",)


def main() -> None:
    parser = parser_for(bench.refinery, PARTS)
    parser.add_argument("--wcxb", type=Path, metavar="DIR", help="WCXB's development pages, unpacked")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-refinery"), metavar="DIR", help="what is made")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), metavar="DIR", help="environments of others")
    chosen = parse(parser, PARTS)

    def rows(part: Any) -> Iterable[Row]:
        """Measure one part, in a folder of its own."""
        folder = chosen.folder.resolve() / part.__name__.rpartition(".")[2]
        folder.mkdir(parents=True, exist_ok=True)
        found: Iterable[Row] = part.rows(Setting(folder, chosen.peers.resolve(), chosen.wcxb and chosen.wcxb.resolve()))
        return found

    measure(bench.refinery, chosen.part, rows)


if __name__ == "__main__":
    main()

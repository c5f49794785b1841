"""All parts, or those that are named: `python -m bench.refinery [PART ...]`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import bench.refinery
from bench.environments import Unavailable
from bench.refinery.setting import Setting
from bench.rows import write_rows
from jielong.errors import did_you_mean

PARTS = ("extraction",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.refinery", description=bench.refinery.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
    parser.add_argument("--wcxb", type=Path, metavar="DIR", help="WCXB's development pages, unpacked")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-refinery"), metavar="DIR", help="what is made")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), metavar="DIR", help="environments of others")
    chosen = parser.parse_args()
    for name in chosen.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    for name in chosen.part or PARTS:
        folder = chosen.folder.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        setting = Setting(folder, chosen.peers.resolve(), chosen.wcxb and chosen.wcxb.resolve())
        try:
            write_rows(f"refinery_{name}", list(importlib.import_module(f"bench.refinery.{name}").rows(setting)))
        except Unavailable as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main()

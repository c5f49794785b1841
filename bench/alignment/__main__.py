"""All parts, or those that are named: `python -m bench.alignment [PART ...] [--run DIR]`."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

import bench.alignment
from bench.alignment.setting import Setting
from bench.environments import Unavailable
from bench.rows import write_rows
from jielong.errors import did_you_mean

PARTS = tuple(
    part.name
    for part in pkgutil.iter_modules(bench.alignment.__path__)
    if not part.ispkg and part.name not in ("__main__", "setting")
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.alignment", description=bench.alignment.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
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
    chosen = parser.parse_args()
    for name in chosen.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    for name in chosen.part or PARTS:
        part = importlib.import_module(f"bench.alignment.{name}")
        seeds = tuple(range(chosen.seeds or part.SEEDS))
        folder = chosen.folder.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        setting = Setting(folder, seeds, chosen.run and chosen.run.resolve(), chosen.peers, chosen.data, chosen.model)
        try:
            write_rows(f"alignment_{name}", list(part.rows(setting)))
        except Unavailable as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main()

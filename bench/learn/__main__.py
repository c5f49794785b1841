"""All parts, or those that are named: `python -m bench.learn [PART ...] --model DIR`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import bench.learn
from bench.learn.judges import JUDGES
from bench.learn.setting import Setting
from bench.rows import write_rows
from jielong.errors import did_you_mean

PARTS = ("voters", "kills", "beside", "hidden", "smollm")
"""The modules of this package that measure something, from the shortest to the longest."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.learn", description=bench.learn.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
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
    chosen = parser.parse_args()
    for name in chosen.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    counts = {name: getattr(chosen, name) for name in ("judgements", "method", "voters", "kills")}
    for name in chosen.part or PARTS:
        part = importlib.import_module(f"bench.learn.{name}")
        with tempfile.TemporaryDirectory(prefix="jielong-bench-") as folder:
            setting = Setting(
                chosen.model.resolve(), Path(folder), tuple(range(chosen.seeds)), tuple(chosen.judges), **counts
            )
            made = list(part.rows(setting))
        write_rows(f"learn_{name}", made)


if __name__ == "__main__":
    main()

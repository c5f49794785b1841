"""All parts, or those that are named: `python -m bench.serve [PART ...] [--model DIR]`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import bench.serve
from bench.environments import Unavailable
from bench.rows import Row, write_rows
from bench.serve.setting import Setting
from bench.strategies.models import default_model
from jielong.errors import did_you_mean

PARTS = ("reopened", "browser", "libraries", "kills", "malformed", "speed", "llama", "crowd")
"""The modules of this package that measure something, from the shortest to the longest."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=bench.serve.__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; without one, all")
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: SmolLM2-135M")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "jielong-bench", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5, help="of speed and llama (default: 5)")
    parser.add_argument(
        "--tokens", type=int, default=128, help="that each answer has in speed and llama (default: 128)"
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="of crowd (default: 300)")
    parser.add_argument("--num", type=int, default=10_000, help="requests of malformed (default: 10000)")
    parser.add_argument("--kills", type=int, default=50, help="of kills (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for name in chosen.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; {did_you_mean(name, PARTS)}")
    model = (chosen.model or default_model()).resolve()
    counts = {name: getattr(chosen, name) for name in ("rounds", "tokens", "seconds", "num", "kills", "seed")}
    for name in chosen.part or PARTS:
        part = importlib.import_module(f"bench.serve.{name}")
        with tempfile.TemporaryDirectory(prefix="jielong-bench-") as folder:
            try:
                made: list[Row] = list(part.rows(Setting(model, Path(folder), chosen.peers, **counts)))
            except Unavailable as why:
                print(f"{name}: {why}")
                continue
        write_rows(f"serve_{name}", made)


if __name__ == "__main__":
    main()

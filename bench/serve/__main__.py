"""All parts, or those that are named: `python -m bench.serve [PART ...] [--model DIR]`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bench.serve
from bench.parts import measure, parse, parser_for
from bench.rows import Row
from bench.serve.setting import Setting
from bench.strategies.models import default_model

PARTS = ("reopened", "browser", "libraries", "kills", "malformed", "speed", "llama", "crowd")
"""The modules of this package that measure something, from the shortest to the longest."""


def main() -> None:
    parser = parser_for(bench.serve, PARTS)
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
    chosen = parse(parser, PARTS)
    model = (chosen.model or default_model()).resolve()
    counts = {name: getattr(chosen, name) for name in ("rounds", "tokens", "seconds", "num", "kills", "seed")}

    def rows(part: Any) -> list[Row]:
        """Measure one part, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="jielong-bench-") as folder:
            return list(part.rows(Setting(model, Path(folder), chosen.peers, **counts)))

    measure(bench.serve, chosen.part, rows)


if __name__ == "__main__":
    main()

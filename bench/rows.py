"""Figures as rows: what was wanted, what came, on what and when; a file for programs and a table for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import circumstances
from bench.environments import ROOT
from jielong.runs import write_json

RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Row:
    """One figure. `wanted` is in words, such as "at least 4" or "equal"; `ok` says whether `got` is that."""

    measure: str
    wanted: str
    got: float | int | str
    ok: bool
    unit: str = ""
    seeds: tuple[int, ...] = (0,)


def write_rows(name: str, rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """bench/results/NAME.json with machine, commit and date in every row, and the table on the terminal."""
    made: dict[str, Any] = {
        "machine": circumstances.machine(),
        "commit": circumstances.commit(),
        "date": circumstances.now(),
    }
    path = folder / f"{name}.json"
    write_json(path, [{**dataclasses.asdict(row), "seeds": list(row.seeds), **made} for row in rows])
    table = Table(title=name, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column, justify in (("measure", "left"), ("wanted", "left"), ("got", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        got = f"{row.got:,.4g}" if isinstance(row.got, float) else str(row.got)
        table.add_row(row.measure, row.wanted, f"{got} {row.unit}".rstrip(), "" if row.ok else "[red]no[/]")
    console = Console()
    console.print(table)
    console.print(f"\nRows:  {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", highlight=False)
    return path

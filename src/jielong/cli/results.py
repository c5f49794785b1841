"""What a person is shown of a finished run: the files that its stages name, and where they lie."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from jielong.report.report import print_table, read_report
from jielong.report.text import shares_table
from jielong.runs import Run, read_json

BEFORE_STAGES_SAID = ("report.json", "exam.txt", "exam.json", "samples.txt")
"""Of a run whose stages name nothing to be shown, as it was made by an earlier version, the first of these that is there."""


def say_results(run: Run) -> None:
    """Print them one after the other."""
    for file in shown(run):
        if file.suffix == ".json":
            _say_figures(file)
        else:
            _say_text(file)


def shown(run: Run) -> list[Path]:
    """The files, in the order of the stages."""
    stages = run.record["stages"].values()
    named = [run.path / name for entry in stages for name in entry.get("summary", {}).get("shown", ())]
    if not named:
        named = [run.path / name for name in BEFORE_STAGES_SAID if (run.path / name).exists()][:1]
    return [file for file in named if file.exists()]


def _say_text(file: Path) -> None:
    print(file.read_text(encoding="utf-8"))
    figures = file.with_suffix(".json")
    beside = f"  (figures beside it in {figures.name})" if figures.exists() else ""
    print(f"{file.stem.capitalize() + ':':<21}{file}{beside}")


def _say_figures(file: Path) -> None:
    if file.stem == "report":
        print_table(read_report(file), Console())
        print(f"\nReport:              {file.with_suffix('.html')}  (figures beside it in {file.name})")
    else:
        print(shares_table(read_json(file)))
        print(f"{file.stem.capitalize() + ':':<21}{file}")

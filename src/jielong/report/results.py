"""The results of a finished run that a person is shown: the files that its stages name."""

from __future__ import annotations

from pathlib import Path

from jielong.report.consoles import console
from jielong.report.report import print_table, read_report
from jielong.report.text import shares_table
from jielong.report.words import ENGLISH, Words
from jielong.runs import Run, read_json

BEFORE_STAGES_SAID = ("report.json", "exam.txt", "exam.json", "samples.txt")
"""Of a run whose stages name nothing to be shown, as an earlier version made it, the first of these that is there."""


def show_results(run: Run, words: Words = ENGLISH) -> None:
    """Print the results of a run, each with its file; of a report the page in the words' language."""
    for file in result_files(run):
        figures = file.with_suffix(".json")
        if file.suffix == ".txt":
            print(file.read_text(encoding="utf-8"))
        elif file.stem == "report":
            print_table(read_report(file), console(), words)
            print()
            file = file.with_suffix(".html" if words.language == "en" else f".{words.language}.html")
        else:
            print(shares_table(read_json(file)))
        beside = f"  (figures beside it in {figures.name})" if figures != file and figures.exists() else ""
        print(f"{file.name.partition('.')[0].capitalize() + ':':<21}{file}{beside}")


def result_files(run: Run) -> list[Path]:
    """Return the files, in the order of the stages."""
    stages = run.record["stages"].values()
    named = [run.path / name for entry in stages for name in entry.get("summary", {}).get("shown", ())]
    if not named:
        named = [run.path / name for name in BEFORE_STAGES_SAID if (run.path / name).exists()][:1]
    return [file for file in named if file.exists()]

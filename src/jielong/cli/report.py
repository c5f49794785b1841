"""The report of a finished run, in English or Chinese: `jielong report`, and the language that others write one in."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.report.words import LANGUAGES

if TYPE_CHECKING:
    from jielong.runs import Run


def add_parser(commands: Any) -> None:
    """Add `jielong report` to the commands."""
    report = commands.add_parser(
        "report",
        help="write the report of a finished run again, in English or Chinese; nothing is trained",
        description="Writes report.LANGUAGE.html into the run's folder, and prints its table. Nothing is trained.",
    )
    report.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    add_language(report)
    add_json(report)
    report.set_defaults(command=_report)


def add_language(parser: argparse.ArgumentParser) -> None:
    """Add the option for the language of a report."""
    parser.add_argument(
        "--language", choices=LANGUAGES, help="of the report (default: zh where LC_ALL or LANG begins with zh, else en)"
    )


def language_of(arguments: argparse.Namespace) -> str:
    """Return the language that was asked for, or the locale's."""
    return str(arguments.language or locale_language())


def locale_language() -> str:
    """Return the language of this user's locale."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def show_report(run: Run, language: str) -> None:
    """Print a run's results; in another language than English its page is written in it first."""
    from jielong.report.results import show_results
    from jielong.report.words import Words

    if language != "en" and (run.path / "report.json").exists():
        write_page(run, language)
    show_results(run, Words(language))


def write_page(run: Run, language: str) -> Path:
    """Write the page of a finished run in a language, beside the one that its exam wrote; return its path."""
    from jielong.report.html import write_report
    from jielong.report.words import Words
    from jielong.stages.reports import report_of

    path = run.path / f"report.{language}.html"
    write_report(path, report_of(run), Words(language))
    return path


def _report(arguments: argparse.Namespace) -> int:
    """Write the page and print the table of a run."""
    from jielong.report.consoles import console
    from jielong.report.report import print_table, read_report
    from jielong.report.words import Words
    from jielong.runs import open_run, read_json

    run, language = open_run(arguments.run), language_of(arguments)
    path = write_page(run, language)
    if arguments.json:
        print_json({"page": path, "results": read_json(run.path / "report.json")})
        return 0
    print_table(read_report(run.path / "report.json"), console(), Words(language))
    print(f"\nReport:              {path}")
    return 0

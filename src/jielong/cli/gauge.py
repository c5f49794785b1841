"""`jielong gauge`: whether reinforcement has learned too much from its reward model, and which model to keep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.report import add_language, language_of


def add_parser(commands: Any) -> None:
    """Add `jielong gauge` to the commands."""
    gauge = commands.add_parser(
        "gauge",
        help="tell where reinforcement has learned too much from its reward model",
        description="Draws the learned reward, and the gold one where the run has one, against the square root of the KL "
        "to the start. Says where to stop and which model to keep; the rule never sees gold.",
    )
    gauge.add_argument("run", type=Path, help="a run's folder, finished or not; RUN:STAGE names a stage")
    gauge.add_argument("--stage", help="of reinforcement (default: the last one)")
    add_json(gauge)
    add_language(gauge)
    gauge.set_defaults(command=_gauge)


def _gauge(arguments: argparse.Namespace) -> int:
    """Print the gauge of a stage, and write its page into the run's folder."""
    from jielong.report.gauge import gauge_json, print_gauge, write_gauge
    from jielong.report.words import Words
    from jielong.runs import named_stage, open_run

    path, stage = named_stage(arguments.run, arguments.stage)
    run = open_run(path)
    from jielong.stages.gauges import gauge_of  # not before it is known that there is a run

    figures = gauge_of(run, stage)
    if arguments.json:
        print_json(gauge_json(figures))
        return 0
    language = language_of(arguments)
    words = Words(language)
    page = run.path / f"gauge.{figures.stage}{'' if language == 'en' else f'.{language}'}.html"
    print_gauge(figures, words)
    write_gauge(page, f"{run.path.name} · {words.stage(figures.stage)}", figures, words)
    print(f"\nPage:  {page}")
    if figures.checkpoint is not None:
        print(f"Next:  jielong chat {figures.checkpoint}")
    return 0

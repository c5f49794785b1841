"""`jielong lineage`: where the checkpoints of a run came from, and with which settings."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from jielong.cli.as_json import add_json, print_json


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("lineage", help="where the checkpoints of a run came from")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    add_json(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the family tree of a run; return exit code 0."""
    from jielong.runs import lineage, lineage_json, open_run

    run = open_run(arguments.run)
    from jielong.stages.settings import settings_in_words  # not before it is known that there is a run

    if arguments.json:
        print_json(lineage_json(run))
        return 0
    print(lineage(run, settings_in_words, shutil.get_terminal_size().columns))
    return 0

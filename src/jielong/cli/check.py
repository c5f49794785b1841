"""`jielong check`: whether the files of a run are unchanged since it made them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json

if TYPE_CHECKING:
    from jielong.runs import Run


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `jielong check` to the commands."""
    parser = commands.add_parser("check", help="read every file of a run, and say which are not what they were")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    add_json(parser)
    parser.set_defaults(command=check)


def check(arguments: argparse.Namespace) -> int:
    """Print a line a stage, and the damaged files; return 2 if there are some."""
    from jielong.runs import open_run

    run = open_run(arguments.run)
    found = [_check_stage(run, name, entry) for name, entry in run.record["stages"].items()]
    damaged = sum(len(stage["damaged"]) for stage in found)
    if arguments.json:
        print_json({"run": run.path, "is_whole": not damaged, "stages": found})
    else:
        _print_stages(found)
        if damaged:
            print(f"\nThe command that made {run.path} makes what is damaged again, and keeps the rest.")
    return 2 if damaged else 0


def _check_stage(run: Run, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Read the files of a stage and compare them with its record."""
    sums = {**entry.get("files", {}), **entry.get("output_files", {})}
    damaged = run.damage(name, entry) if "done" in entry else {}
    if "done" not in entry:
        state = "unfinished"
    elif "files" not in entry:
        state = "unknown"
    else:
        state = "damaged" if damaged else "whole"
    size = sum(known["bytes"] for known in sums.values())
    return {"stage": name, "state": state, "files": len(sums), "bytes": size, "damaged": damaged}


def _print_stages(found: list[dict[str, Any]]) -> None:
    """Print a line for each stage, and its damaged files."""
    for stage in found:
        read = f"{stage['files']} files, {stage['bytes'] / 1e6:,.1f} MB"
        said = {
            "unfinished": "unfinished: not checked",
            "unknown": "not checked: made before results had sums",
            "damaged": f"{read}, {len(stage['damaged'])} damaged",
            "whole": f"{read}, as they were made",
        }
        print(f"{stage['stage']:12}  {said[stage['state']]}")
        for path, what in stage["damaged"].items():
            print(f"              {path} {what}")

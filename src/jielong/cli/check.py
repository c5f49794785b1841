"""`jielong check`: whether the files of a run are unchanged since it made them."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="read every file of a run, and say which are not what they were")
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.set_defaults(command=check)


def check(arguments: argparse.Namespace) -> int:
    """Print a line a stage, and the damaged files; return 2 where there are some."""
    from jielong.runs import open_run

    run = open_run(arguments.run)
    damaged = 0
    for name, entry in run.record["stages"].items():
        sums = {**entry.get("files", {}), **entry.get("output_files", {})}
        size = sum(known["bytes"] for known in sums.values()) / 1e6
        wrong = run.damage(name, entry) if "done" in entry else {}
        if "done" not in entry:
            state = "unfinished: not checked"
        elif "files" not in entry:
            state = "not checked: made before results had sums"
        else:
            state = f"{len(sums)} files, {size:,.1f} MB" + (
                f", {len(wrong)} damaged" if wrong else ", as they were made"
            )
        print(f"{name:12}  {state}")
        for path, what in wrong.items():
            print(f"              {path} {what}")
        damaged += len(wrong)
    if damaged:
        print(f"\nThe command that made {run.path} makes what is damaged again, and keeps the rest.")
    return 2 if damaged else 0

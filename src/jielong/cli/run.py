"""`jielong quickstart` and `jielong run`: a recipe taken to its end, and what may be done with what came out."""

from __future__ import annotations

import argparse
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.cli import report
from jielong.cli.walk import (
    add_recipe,
    add_size,
    add_walk_options,
    run_with_display,
    say_at_once,
    say_what_next,
    written_recipe,
)
from jielong.recipes import about_recipes

if TYPE_CHECKING:
    from jielong.stages.recipe import Recipe


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    start = commands.add_parser("quickstart", help="the whole road once: web pages in, a reinforced assistant out")
    start.set_defaults(command=_run, recipe="quickstart", source=None, chat=None, preferences=None, method=None)
    add_size(start)
    _add_run_options(start)

    run = commands.add_parser(
        "run",
        help=f"run a recipe: {', '.join(about_recipes())}, or one in a file",
        description="Recipes:\n" + "\n".join(f"  {name:12}{about}" for name, about in about_recipes().items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe(run)
    run.set_defaults(command=_run)
    _add_run_options(run)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of running a recipe."""
    add_walk_options(parser, seed=None)
    report.add_language(parser)
    parser.add_argument("--no-chat", action="store_true", help="do not offer a chat at the end")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="open a page while it trains: curves, samples, a chat with the newest checkpoint",
    )


def _run(arguments: argparse.Namespace) -> int:
    """Run a recipe to its end, show its report, and offer a chat."""
    say_at_once(f"{arguments.recipe}: loading what trains, and looking at what it is made of")
    written = written_recipe(arguments)
    recipe = replace(written, settings=()).build()
    with watched(arguments, recipe) if arguments.watch else nullcontext():
        run = run_with_display(recipe, arguments, written.settings)
    if run is None:
        return 0
    report.show_report(run, report.language_of(arguments))
    trained = [s for s in run.record["stages"] if (run.path / s / "steps").exists()]
    print()
    say_what_next(run, can_talk=any(s in trained for s in ("sft", "rl")))
    if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.no_chat and "sft" in trained:
        return _offer_talk(run.path)
    return 0


@contextmanager
def watched(arguments: argparse.Namespace, recipe: Recipe) -> Iterator[None]:
    """Serve the page of the run in a process of its own, with low priority, as long as the run goes on."""
    import psutil

    from jielong.cli.serve import free_port

    run = arguments.runs / (arguments.name or recipe.run_name)
    port = free_port(8000)
    words = ["serve", "--watch", str(run), "--runs", str(arguments.runs), "--port", str(port), "--slots", "2"]
    command = [sys.executable, "-m", "jielong.cli.main", *words, "--no-browser"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the training, which ends it
    )
    psutil.Process(process.pid).nice(15)
    address = f"http://127.0.0.1:{port}/#/runs/{run.name}"
    print(f"Watch it: {address}", flush=True)
    if sys.stdout.isatty():
        webbrowser.open(address)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _offer_talk(run: Path) -> int:
    """Ask whether to chat now: in this terminal, or on the page if the server is installed."""
    has_page = find_spec("fastapi") is not None
    where = "here (Enter), on a page in the browser (p), or not (n)? " if has_page else "[Y/n] "
    try:
        said = input(f"\nChat now{': ' if has_page else '? '}{where}").strip().lower()
    except EOFError:  # Ctrl-D
        said = "n"
    if said in ("", "y", "yes"):
        from jielong.cli import chat

        return chat.talk_to(run)
    if said in ("p", "page") and has_page:
        from jielong.cli import serve

        serve.serve_run(run)
    return 0

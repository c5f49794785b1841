"""`jielong inspect`: a file or folder is recognised, its usable records are counted, and some are shown as they are trained on."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.parsing import former_name
from jielong.report import terminal

SHOWN_CHARS = 1200
"""Of one example on the terminal."""


def add_parser(commands: Any) -> None:
    """Add `jielong inspect` to the commands."""
    parser = commands.add_parser(
        "inspect", help="say what a file or folder is taken for and what of it can be used", description=__doc__
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="chats, preferences, a folder of documents, a model folder or a run"
    )
    parser.add_argument(
        "--model", type=Path, metavar="MODEL", help="count and render with this model's tokenizer and chat template"
    )
    parser.add_argument(
        "--context", type=int, default=512, metavar="N", help="tokens that training takes of a record (default: 512)"
    )
    examples = parser.add_argument("--examples", type=int, default=3, metavar="N", help="to show (default: 3)")
    former_name(parser, examples, "--show")
    add_json(parser)
    parser.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    """Inspect a path and print the findings; return 2 if nothing is usable."""
    from jielong.errors import ConfigError
    from jielong.opening.inspecting import inspect
    from jielong.runs import find_model
    from jielong.tokens.tokenizer import Tokenizer

    if arguments.context < 2:
        raise ConfigError(f"--context is {arguments.context}; it must be at least 2")
    tokenizer = Tokenizer.load(find_model(arguments.model)) if arguments.model else None
    found = inspect(
        arguments.path,
        tokenizer=tokenizer,
        context=arguments.context,
        num_shown=arguments.examples,
        progress=_Counting() if sys.stderr.isatty() else None,
    )
    if arguments.json:
        told = {"path": found.path, "taken_for": found.taken_for, "usable": found.usable, **found.figures}
        examples = [[{"text": text, "trained": trained} for text, trained in pieces] for pieces in found.shown]
        print_json({**told, "findings": found.findings, "examples": examples})
    else:
        _print_findings(found.path, found.taken_for, found.findings, found.shown)
    return 0 if found.usable else 2


def _print_findings(path: str, taken_for: str, findings: list[str], shown: list[list[tuple[str, bool]]]) -> None:
    """Print findings and examples."""
    from rich.padding import Padding
    from rich.text import Text

    from jielong.report import consoles

    console = consoles.console(highlight=False)
    console.print(Text(f"{path}: {taken_for}"), style="bold", soft_wrap=True)
    for finding in findings:
        console.print(Padding(Text(finding), (0, 0, 0, 2)))
    if not shown:
        return
    console.print("\nAs it is trained on; what the assistant learns to write stands between ⟦ and ⟧:")
    for number, pieces in enumerate(shown, start=1):
        text = Text(f"\n[{number}] ")
        for piece, is_trained in pieces:
            text.append(f"⟦{piece}⟧" if is_trained else piece, style="green" if is_trained else "dim")
        if len(text) > SHOWN_CHARS:
            text = text[:SHOWN_CHARS].append(" ...")
        console.print(text)


class _Counting:
    """A counter of records in one line on standard error."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def __call__(self, count: int) -> None:
        if time.monotonic() - self._told_s > 0.5:
            terminal.progress(f"{count:,} records")
            self._told_s = time.monotonic()

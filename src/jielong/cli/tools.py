"""The options that name a library and tools, and the person at the terminal: asked before changes, and told."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.opening.tools import Means, Person
from jielong.records import Message
from jielong.use.tools.telling import in_a_line
from jielong.use.tools.tool import one_line

if TYPE_CHECKING:
    from jielong.use.tools.tool import Arguments, Tool


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that hand a library and tools to a model."""
    parser.add_argument(
        "--tools",
        default="",
        help="tools the model may call, joined by commas: calculator, python (a safe interpreter of its own), cpython "
        "(the whole of Python in bubblewrap)",
    )
    parser.add_argument("--pages", type=Path, metavar="FILE", help="let it search the documents of a documents.jsonl")
    parser.add_argument(
        "--searxng", metavar="URL", help="let it search the web through a server that speaks as SearXNG does"
    )
    parser.add_argument(
        "--library",
        type=Path,
        metavar="FILE",
        help="answer from this library; beside tools, it is one that searches it",
    )
    parser.add_argument("--mcp", type=Path, metavar="FILE", help='the tools of MCP servers: {"mcpServers": {...}}')


def means_of(arguments: argparse.Namespace) -> Means:
    """The tools, pages and library that were named on the command line."""
    return Means(arguments.tools, arguments.pages, arguments.searxng, arguments.library, arguments.mcp)


def unanswered(message: Message) -> list[str]:
    """A line for each call in an answer that nobody was there to answer."""
    calls = (one_line(in_a_line(call), 160) for call in message.tool_calls)
    return [f"[{call}: nobody answers calls; give it --tools]" for call in calls]


async def approve(tool: Tool, arguments: Arguments) -> bool:
    """Ask on the terminal; no where there is none."""
    if not sys.stdin.isatty():
        return False
    shown = one_line(json.dumps(arguments, ensure_ascii=False), 4000)
    try:
        said = typed(f"\nThe model wants to call {tool.name} with {shown}, which changes something. Allow it? [y/N] ")
    except EOFError:
        return False
    return said.strip().lower() in ("y", "yes", "是")


def typed(prompt: str) -> str:
    """A line from the terminal. Ctrl-C ends the program as everywhere, although an event loop is running.

    The loop stands still meanwhile: nothing happens before the person has spoken.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, before)


def tell(sentence: str) -> None:
    """Say it beside the answer, on standard error."""
    print(sentence, file=sys.stderr)


PERSON = Person(approve, tell)
"""Whoever sits at this terminal."""

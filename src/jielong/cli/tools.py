"""The options for a library and tools, and the person at the terminal, who approves changes and reads notes."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.opening.tools import Equipment, Person
from jielong.records import Message
from jielong.report import terminal
from jielong.use.tools.tool import one_line

if TYPE_CHECKING:
    from jielong.use.port import Answer
    from jielong.use.tools.tool import Arguments, Tool


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for a library and tools."""
    parser.add_argument(
        "--tools",
        default="",
        metavar="NAMES",
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
    parser.add_argument(
        "--tool-timeout",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="of one call of a tool (default: its own, mostly 30)",
    )


def add_timeout(parser: argparse._ActionsContainer) -> None:
    """Add --timeout: the seconds a model server may be silent before the request fails."""
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="how long a server may be silent (default: 600)"
    )


def add_thoughts(parser: argparse._ActionsContainer) -> None:
    """Add the option to show thoughts."""
    parser.add_argument("--thoughts", action="store_true", help="show what the model thinks before it answers")


def equipment_of(arguments: argparse.Namespace) -> Equipment:
    """Return the tools, pages and library that were named on the command line."""
    return Equipment(
        arguments.tools, arguments.pages, arguments.searxng, arguments.library, arguments.mcp, arguments.tool_timeout
    )


def cut_notes(answer: Answer, max_tokens: int) -> list[str]:
    """Return a line of explanation if the answer was cut, else none."""
    if answer.missing or answer.stop not in ("length", "content_filter"):
        return []
    why = f"cut after --max-tokens {max_tokens}" if answer.stop == "length" else "cut by the server's filter"
    return [f"[{why}]"]


def show_thought(text: str) -> None:
    """Print a piece of thought on standard error, faintly if that is a terminal."""
    terminal.faint(text)


def unanswered(message: Message, is_stopped: bool = False) -> list[str]:
    """Return a line for each call in an answer that nobody was there to answer."""
    from jielong.use.tools.rendering import (
        format_call,
    )  # late: it brings the tokenizers, which most commands do without

    calls = (one_line(format_call(call), 160) for call in message.tool_calls)
    why = "the budget was spent before it was answered" if is_stopped else "nobody answers calls; give it --tools"
    return [f"[{call}: {why}]" for call in calls]


async def approve(tool: Tool, arguments: Arguments) -> bool:
    """Ask at the terminal whether a tool may be called. Returns False if there is no terminal."""
    if not sys.stdin.isatty():
        return False
    shown = one_line(json.dumps(arguments, ensure_ascii=False), 4000)
    try:
        said = typed(f"\nThe model wants to call {tool.name} with {shown}, which changes something. Allow it? [y/N] ")
    except EOFError:
        return False
    return said.strip().lower() in ("y", "yes", "是")


def typed(prompt: str) -> str:
    """Read a line from the terminal. Ctrl-C ends the program as everywhere, although an event loop is running.

    The loop stands still meanwhile: nothing happens before the person has spoken.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(terminal.plain(prompt))
    finally:
        signal.signal(signal.SIGINT, before)


def tell(sentence: str) -> None:
    """Print a note for the user on standard error."""
    print(sentence, file=sys.stderr)


PERSON = Person(approve, tell)
"""Whoever sits at this terminal."""

"""The library and the tools that a command line names: opened as long as they are needed, and a person's yes before changes."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError, did_you_mean
from jielong.records import Message
from jielong.use.tools.telling import in_a_line
from jielong.use.tools.tool import one_line

if TYPE_CHECKING:
    from jielong.use.tools.tool import Arguments, Tool

NAMES = ("calculator", "python", "cpython")


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


def any_named(arguments: argparse.Namespace) -> bool:
    """Whether the command line hands any tool to the model."""
    return bool(arguments.tools or arguments.pages or arguments.searxng or arguments.mcp)


def strategy_of(spec: str, arguments: argparse.Namespace) -> str:
    """The strategy `spec` with what the command line hands it, or what it calls for where the spec is "".

    ConfigError where there are tools and no strategy that calls them.
    """
    if not spec:
        return "tools" if any_named(arguments) else "library" if arguments.library else "direct"
    names = {part.strip().partition(":")[0] for part in spec.split("+")}
    if any_named(arguments) and "tools" not in names:
        raise ConfigError(f"no strategy of {spec!r} calls the tools; write --strategy {spec}+tools")
    if arguments.library and not names & {"library", "tools"}:
        return f"library+{spec}" if names != {"direct"} else "library"
    return spec


def unanswered(message: Message) -> list[str]:
    """A line for each call in an answer that nobody was there to answer."""
    calls = (one_line(in_a_line(call), 160) for call in message.tool_calls)
    return [f"[{call}: nobody answers calls; give it --tools]" for call in calls]


@asynccontextmanager
async def open_means(arguments: argparse.Namespace) -> AsyncIterator[dict[str, Any]]:
    """What strategies are handed, while it is needed: the library, the tools, and who approves of changes.

    ConfigError for a tool that does not exist.
    """
    means: dict[str, Any] = {}
    tools = [_named(name.strip()) for name in arguments.tools.split(",") if name.strip()]
    async with AsyncExitStack() as stack:
        if arguments.library:
            from jielong.cli.library import open_library

            means["library"] = stack.enter_context(closing(open_library(arguments.library)))
            if any_named(arguments):
                from jielong.use.tools.search import search_tool

                tools.append(search_tool(means["library"], "search_library", "the user's own documents"))
        if arguments.pages:
            from jielong.use.tools.search import Pages, search_tool

            pages = stack.enter_context(closing(Pages.read(arguments.pages)))
            tools.append(search_tool(pages, "search_pages", "web pages that were collected"))
        if arguments.searxng:
            from jielong.use.tools.search import SearXNG, search_tool

            tools.append(search_tool(SearXNG(arguments.searxng), "search_web", "the web"))
        if arguments.mcp:
            from jielong.use.tools.mcp_servers import opened, read_servers

            tools += await stack.enter_async_context(opened(read_servers(arguments.mcp)))
        if tools:
            means |= {"tools": tuple(tools), "approve": approve}
        yield means


def _named(name: str) -> Tool:
    if name == "calculator":
        from jielong.use.tools.calculator import CALCULATOR

        return CALCULATOR
    if name in ("python", "cpython"):
        from jielong.use.tools.sandbox import Bubblewrap, Monty, python_tool

        return python_tool(Monty() if name == "python" else Bubblewrap())
    raise ConfigError(f"unknown tool {name!r}; {did_you_mean(name, NAMES)}")


async def approve(tool: Tool, arguments: Arguments) -> bool:
    """Ask on the terminal; no where there is none."""
    from jielong.use.tools.tool import one_line

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

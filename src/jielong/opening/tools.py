"""The library and the tools that somebody names for a model: opened as long as they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.config import at_least
from jielong.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from jielong.use.tools.tool import Arguments, Tool

NAMES = ("calculator", "python", "cpython")


@dataclass(frozen=True)
class Means:
    """What a model is handed, by name: tools joined by commas, pages and a library to search, servers of tools."""

    tools: str = ""
    pages: Path | None = None
    searxng: str | None = None
    library: Path | None = None
    mcp: Path | None = None
    limit_s: float = 0.0
    """Of one call of a tool; 0 leaves each its own."""

    def __post_init__(self) -> None:
        at_least(self, 0, "limit_s")

    @property
    def has_tools(self) -> bool:
        """Whether any tool is among them."""
        return bool(self.tools or self.pages or self.searxng or self.mcp)


@dataclass(frozen=True)
class Person:
    """Who is asked before a tool changes something, and told what is worth knowing."""

    approve: Callable[[Tool, Arguments], Awaitable[bool]]
    tell: Callable[[str], None]


@asynccontextmanager
async def open_means(means: Means, person: Person) -> AsyncIterator[dict[str, Any]]:
    """What strategies are handed, while it is needed: the library, the tools, and who approves of changes.

    ConfigError for a tool that does not exist, ResourceError for one that this machine cannot run.
    """
    found: dict[str, Any] = {}
    tools = [await _named(name.strip()) for name in means.tools.split(",") if name.strip()]
    async with AsyncExitStack() as stack:
        if means.library:
            from jielong.opening.libraries import open_library

            found["library"] = stack.enter_context(closing(open_library(means.library, tell=person.tell)))
            if means.has_tools:
                from jielong.use.tools.search import search_tool

                tools.append(search_tool(found["library"], "search_library", "the user's own documents"))
        if means.pages:
            from jielong.use.tools.search import Pages, search_tool

            pages = stack.enter_context(closing(Pages.read(means.pages)))
            tools.append(search_tool(pages, "search_pages", "web pages that were collected"))
        if means.searxng:
            from jielong.use.tools.search import SearXNG, search_tool

            tools.append(search_tool(SearXNG(means.searxng), "search_web", "the web"))
        if means.mcp:
            from jielong.use.tools.mcp_servers import opened, read_servers
            from jielong.use.tools.tool import DEFAULT_LIMIT_S

            taken = [tool.name for tool in tools]
            servers, limit_s = read_servers(means.mcp), means.limit_s or DEFAULT_LIMIT_S
            opening = opened(servers, limit_s=limit_s, tell=person.tell, taken=taken)
            tools = [*_limited(tools, means.limit_s), *await stack.enter_async_context(opening)]
        else:
            tools = _limited(tools, means.limit_s)
        if tools:
            found |= {"tools": tuple(tools), "approve": person.approve}
        yield found


def _limited(tools: list[Tool], limit_s: float) -> list[Tool]:
    """The tools with this limit of a call, where one was given."""
    return [replace(tool, limit_s=limit_s) for tool in tools] if limit_s else tools


async def _named(name: str) -> Tool:
    if name == "calculator":
        from jielong.use.tools.calculator import CALCULATOR

        return CALCULATOR
    if name == "python":
        from jielong.use.tools.sandbox import Monty, python_tool

        return python_tool(Monty())
    if name == "cpython":
        from jielong.use.tools.bubblewrap import Bubblewrap
        from jielong.use.tools.sandbox import python_tool

        await Bubblewrap().run("1")  # or it says why not
        return python_tool(Bubblewrap())
    raise ConfigError(f"unknown tool {name!r}; {did_you_mean(name, NAMES)}")

"""Opening the library and the tools that are named for a model, as long as they are needed."""

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
class Equipment:
    """The tools and sources for a model, by name: tools joined by commas, pages and a library to search, servers of
    tools.
    """

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
    """The person at the terminal: `approve` asks before a tool changes something, `tell` shows notes."""

    approve: Callable[[Tool, Arguments], Awaitable[bool]]
    tell: Callable[[str], None]


@asynccontextmanager
async def open_equipment(equipment: Equipment, person: Person) -> AsyncIterator[dict[str, Any]]:
    """Open the resources of a strategy while the context lives: the library, the tools, and who approves of changes.

    Raises ConfigError for a tool that does not exist, ResourceError for one that this machine cannot run.
    """
    found: dict[str, Any] = {}
    tools = [await _open_tool(name.strip()) for name in equipment.tools.split(",") if name.strip()]
    async with AsyncExitStack() as stack:
        if equipment.library:
            from jielong.opening.libraries import open_library

            found["library"] = stack.enter_context(closing(open_library(equipment.library, tell=person.tell)))
            if equipment.has_tools:
                from jielong.use.tools.search import search_tool

                tools.append(search_tool(found["library"], "search_library", "the user's own documents"))
        if equipment.pages:
            from jielong.use.tools.search import Pages, search_tool

            pages = stack.enter_context(closing(Pages.read(equipment.pages)))
            tools.append(search_tool(pages, "search_pages", "web pages that were collected"))
        if equipment.searxng:
            from jielong.use.tools.search import SearXNG, search_tool

            tools.append(search_tool(SearXNG(equipment.searxng), "search_web", "the web"))
        if equipment.mcp:
            from jielong.use.tools.mcp_servers import open_servers, read_servers
            from jielong.use.tools.tool import DEFAULT_LIMIT_S

            taken = [tool.name for tool in tools]
            servers, limit_s = read_servers(equipment.mcp), equipment.limit_s or DEFAULT_LIMIT_S
            opening = open_servers(servers, limit_s=limit_s, tell=person.tell, taken=taken)
            tools = [*_with_limit(tools, equipment.limit_s), *await stack.enter_async_context(opening)]
        else:
            tools = _with_limit(tools, equipment.limit_s)
        if tools:
            found |= {"tools": tuple(tools), "approve": person.approve}
        yield found


def _with_limit(tools: list[Tool], limit_s: float) -> list[Tool]:
    """Give the tools this limit of seconds a call, if one is set."""
    return [replace(tool, limit_s=limit_s) for tool in tools] if limit_s else tools


async def _open_tool(name: str) -> Tool:
    """Open a built-in tool by name. Raises ConfigError for an unknown one."""
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

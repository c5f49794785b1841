"""The tools of any MCP server, started as a process (stdio) or reached at an address (streamable HTTP).

The file that says which is the usual one: {"mcpServers": {"NAME": {"command": "...", "args": [...], "env": {...}}}} or
{"mcpServers": {"NAME": {"url": "https://...", "headers": {...}}}}. What a server says about a tool is what its makers say:
unless it calls one read-only, the tool is taken for one that changes something, and a person is asked before each call.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from jielong.errors import ConfigError, DataError, ResourceError
from jielong.outside import read_json_file
from jielong.use.tools.tool import Arguments, Tool

_START_S = 60.0
"""What a server may take to start and list its tools."""


def read_servers(path: Path) -> dict[str, Mapping[str, Any]]:
    """The servers of a config file, by name; ConfigError where it is no such file."""
    try:
        data = read_json_file(path)
    except DataError as error:
        raise ConfigError(f"{path} is no MCP config: {str(error).removeprefix(f'{path}: ')}") from None
    servers = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(servers, dict):
        raise ConfigError(f'{path} is no MCP config; expected {{"mcpServers": {{"NAME": {{"command": ...}}}}}}')
    for name, server in servers.items():
        if not isinstance(server, dict) or ("command" in server) == ("url" in server):
            raise ConfigError(f'{path}: the server {name!r} needs either a "command" or a "url"')
    return dict(servers)


@asynccontextmanager
async def opened(servers: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[tuple[Tool, ...]]:
    """The tools of all servers, while they are needed.

    ConfigError without the package mcp; ResourceError naming the server that cannot be started or reached.
    """
    try:
        import mcp
    except ImportError:
        raise ConfigError("MCP servers need the package mcp; pip install 'jielong[tools]'") from None
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    # Each connection lives in a task of its own: it must be closed by who opened it, and errors of others must not pass it.
    opening = {name: loop.create_future() for name in servers}
    keepers = [loop.create_task(_keep(mcp, name, servers[name], opening[name], over)) for name in servers]
    try:
        found = await asyncio.gather(*opening.values(), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        yield tuple(tool for one in found if not isinstance(one, BaseException) for tool in one)
    finally:
        over.set()
        for keeper, ready in zip(keepers, opening.values(), strict=True):
            if not ready.done():
                keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep(
    mcp: Any, name: str, server: Mapping[str, Any], ready: asyncio.Future[list[Tool]], over: asyncio.Event
) -> None:
    """Hold the connection to a server open until it is `over`; its tools, or why there are none, go into `ready`."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_START_S):
                client = await stack.enter_async_context(await _client(mcp, server, stack))
                ready.set_result(await _tools(client, name))
        except Exception as error:  # the package's, anyio's and the system's: all mean that it is not there
            ready.set_exception(ResourceError(f"the MCP server {name!r} cannot be used ({_words(error)})"))
            return
        await over.wait()


async def _tools(client: Any, server: str) -> list[Tool]:
    tools: list[Tool] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += [_tool(client, server, found) for found in page.tools]
        cursor = page.next_cursor
        if not cursor:
            return tools


async def _client(mcp: Any, server: Mapping[str, Any], stack: AsyncExitStack) -> Any:
    if "url" in server:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        http = await stack.enter_async_context(httpx2.AsyncClient(headers=server.get("headers"), timeout=60.0))
        return mcp.Client(streamable_http_client(server["url"], http_client=http))
    parameters = mcp.StdioServerParameters(
        command=server["command"], args=server.get("args", []), env=server.get("env"), cwd=server.get("cwd")
    )
    # what a server says about itself is not for the terminal of a chat
    silent = stack.enter_context(open(os.devnull, "w"))  # noqa: SIM115
    return mcp.Client(mcp.stdio_client(parameters, errlog=silent))


def _tool(client: Any, server: str, found: Any) -> Tool:
    async def run(arguments: Arguments) -> str:
        result = await client.call_tool(found.name, dict(arguments))
        said = "\n".join(part.text if part.type == "text" else f"[{part.type}]" for part in result.content)
        if not said and result.structured_content is not None:
            said = json.dumps(result.structured_content, ensure_ascii=False)
        return f"error: {said}" if result.is_error else said

    is_read_only = bool(found.annotations and found.annotations.read_only_hint)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in f"{server}_{found.name}")
    return Tool(name, found.description or found.name, found.input_schema, run, changes=not is_read_only)


def _words(error: BaseException) -> str:
    """What went wrong, without the groups that errors of tasks come in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"

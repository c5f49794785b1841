"""The tools of any MCP server, started as a process (stdio) or reached at an address (streamable HTTP, SSE).

All servers are started at the same time. One that cannot be used costs a sentence and not the others; one that dies
later costs the call and is started again with the next one. A server's words about a tool are not trusted: unless it
calls one read-only, the tool counts as one that changes something, and a person is asked before each call.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from jielong.errors import ConfigError, ResourceError
from jielong.use.ledger import note
from jielong.use.tools.guard import defuse_marks, is_instruction, sentences, visible_text
from jielong.use.tools.mcp_config import parse_server, read_servers
from jielong.use.tools.mcp_connection import Connection
from jielong.use.tools.mcp_results import LONGEST_DESCRIPTION, schema_of, text_of_result
from jielong.use.tools.tool import DEFAULT_LIMIT_S, Arguments, Tool, one_line, shortened

__all__ = ["open_servers", "read_servers"]

_START_S = 60.0
"""Seconds for a server to start and list its tools, where its config says nothing else."""
_LONGEST_NAME = 64
"""Characters; what OpenAI's protocol takes."""
_SILENT = logging.NullHandler()


@asynccontextmanager
async def open_servers(
    servers: Mapping[str, Mapping[str, Any]],
    *,
    limit_s: float = DEFAULT_LIMIT_S,
    tell: Callable[[str], None] = note,
    taken: Collection[str] = (),
) -> AsyncIterator[tuple[Tool, ...]]:
    """Open the tools of all servers (as a config has them, by name), while they are needed.

    A call may take `limit_s` seconds, or its server's "timeout". `tell` gets a sentence about each server that is
    skipped and each description that speaks like an instruction; no tool gets a name that is `taken`. Raises
    ConfigError for a wrong config or without the package mcp. Raises ResourceError if none of the servers can be used.
    """
    try:
        import mcp
    except ImportError:
        raise ConfigError("MCP servers need the package mcp; pip install 'jielong[tools]'") from None
    # a line that is no message does no harm, so the package need not print a traceback about it
    logging.getLogger("mcp").addHandler(_SILENT)
    parsed = [parse_server(name, server) for name, server in servers.items()]
    for server in parsed:
        if server.is_disabled:
            tell(f"the MCP server {server.name!r} is passed over: its config says that it is disabled")
    connections = [
        Connection(mcp, server, _START_S if server.timeout_s is None else server.timeout_s)
        for server in parsed
        if not server.is_disabled
    ]
    try:
        came = await asyncio.gather(*(one.start() for one in connections), return_exceptions=True)
        problems = [one for one in came if isinstance(one, BaseException)]
        for problem in problems:
            if not isinstance(problem, ResourceError):
                raise problem
        if len(problems) == len(connections):
            told = "; ".join(map(str, problems)) or f"{len(servers)} in the config, all of them disabled"
            raise problems[0] if len(servers) == 1 and problems else ResourceError(f"no MCP server is left: {told}")
        for problem in problems:
            tell(f"{problem}; the others go on")
        found = [
            (connection, tool)
            for connection, tools in zip(connections, came, strict=True)
            if not isinstance(tools, BaseException)
            for tool in tools
        ]
        yield _tools(found, limit_s, tell, taken)
    finally:
        await asyncio.gather(*(one.close() for one in connections))


def _tools(
    found: Sequence[tuple[Connection, Any]], limit_s: float, tell: Callable[[str], None], taken: Collection[str]
) -> tuple[Tool, ...]:
    """Make a tool of each listed one, with safe descriptions and names."""
    tools: list[Tool] = []
    for connection, listed in found:
        server = connection.server
        name = tool_name(server.name, listed.name, {*taken, *(tool.name for tool in tools)})
        description = defuse_marks(visible_text(listed.description or "")).strip() or listed.name
        for sentence in sentences(description):
            if is_instruction(sentence):
                tell(f"the description of {name} reads like an instruction to the model: {one_line(sentence, 400)}")
        tools.append(
            Tool(
                name,
                shortened(description, LONGEST_DESCRIPTION),
                schema_of(listed.input_schema),
                _runner(connection, listed.name),
                changes=not (listed.annotations and listed.annotations.read_only_hint),
                limit_s=limit_s if server.timeout_s is None else server.timeout_s,
            )
        )
    return tuple(tools)


def _runner(connection: Connection, tool: str) -> Callable[[Arguments], Awaitable[str]]:
    """Make the function that calls a server's tool."""

    async def run(arguments: Arguments) -> str:
        return text_of_result(await connection.call(tool, arguments))

    return run


def tool_name(server: str, tool: str, taken: Collection[str] = ()) -> str:
    """Make a name that models and servers accept, for a tool of a server: Latin letters, digits, _ and -, at most 64 of
    them.

    A longer one keeps its beginning and gets an end made of the whole name; one that is `taken` gets a number.
    """
    whole = f"{server}_{tool}"
    name = re.sub(r"[^A-Za-z0-9_-]", "_", whole)
    if not re.match("[A-Za-z_]", name):
        name = f"_{name}"
    if len(name) > _LONGEST_NAME:
        end = hashlib.blake2b(whole.encode("utf-8", "replace"), digest_size=3).hexdigest()
        name = f"{name[: _LONGEST_NAME - len(end) - 1]}_{end}"
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[: _LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return free

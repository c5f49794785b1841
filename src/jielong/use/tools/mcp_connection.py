"""A connection to one MCP server: opened within a time limit, given up when the server dies, opened again with the next
call.

The package mcp speaks the protocol. Here is what it leaves open: a server's last words before it died, sentences for a
person in place of its errors, and messages that it would refuse.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from jielong.errors import ResourceError
from jielong.use.ledger import note
from jielong.use.tools.mcp_config import Server, fill_variables
from jielong.use.tools.mcp_results import mend_result
from jielong.use.tools.tool import Arguments, one_line

_MOST_STARTS = 4


class Connection:
    """A connection to a server, opened when it is needed.

    A connection must be closed by the task that opened it, and its errors must not end the work of others. So a task of
    its own holds it.
    """

    def __init__(self, mcp: Any, server: Server, start_s: float) -> None:
        self.server, self._mcp, self._start_s = server, mcp, start_s
        self._lock = asyncio.Lock()
        self._num_starts = 0
        self._client: Any = None
        self._keeper: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._status = 0
        """The last HTTP status that was none of success."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        """Read the standard error of the process: it is not shown in a chat, but may say why the process died."""

    async def start(self) -> list[Any]:
        """Connect and return the tools that the config lets it offer. Raises ResourceError, naming the server, if it
        cannot be used.
        """
        self._num_starts += 1
        self._over, self._status = asyncio.Event(), 0
        self._errors.seek(0)
        self._errors.truncate()
        ready: asyncio.Future[tuple[Any, list[Any]]] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._hold_open(ready, self._over))
        try:
            client, tools = await asyncio.shield(ready)
        except asyncio.CancelledError:
            self._keeper.cancel()
            raise
        self._client = client
        return [tool for tool in tools if self.server.offers(tool.name)]

    async def call(self, tool: str, arguments: Arguments) -> Any:
        """Return the result of a call. Raises ResourceError if there is none."""
        async with self._lock:
            if self._client is None:
                await self._start_again()
            client, keeper = self._client, self._keeper
        try:
            return await client.call_tool(tool, dict(arguments))
        except Exception as error:  # the package's, anyio's and the system's
            await asyncio.sleep(0)  # for the task that holds the connection, if that is what failed
            if _is_closed(error) or keeper is None or keeper.done():
                self._mark_lost(client)
            self._refuse(error, is_lost=self._client is not client)

    async def close(self) -> None:
        """End the connection and its task."""
        self._over.set()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._errors.close()

    async def _start_again(self) -> None:
        """Start the server again, up to a limit."""
        if self._num_starts >= _MOST_STARTS:
            raise ResourceError(
                f"the MCP server {self.server.name!r} ended {self._num_starts} times and is not started again"
            )
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        note(f"the MCP server {self.server.name!r} is started again")
        await self.start()

    def _mark_lost(self, client: Any) -> None:
        """Forget `client` if it is the present one, and end its connection, so that the next call starts anew."""
        if self._client is client:
            self._client = None
            self._over.set()

    def _refuse(self, error: BaseException, *, is_lost: bool) -> NoReturn:
        """Raise the error for a call that has no result."""
        name = self.server.name
        if is_lost:
            last = self._last_words()
            raise ResourceError(f"the MCP server {name!r} ended during the call{f' ({last})' if last else ''}")
        if type(error).__name__ == "ValidationError":
            raise ResourceError(f"the MCP server {name!r} answered with what the protocol does not know")
        raise ResourceError(one_line(str(error), 2000) or f"the MCP server {name!r} failed ({type(error).__name__})")

    async def _hold_open(self, ready: asyncio.Future[tuple[Any, list[Any]]], over: asyncio.Event) -> None:
        """Hold a connection open until it is `over`; client and tools, or the error, go into `ready`."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._start_s):
                    client = await stack.enter_async_context(self._mcp.Client(await self._transport(stack)))
                    tools = await _list_tools(client)
                ready.set_result((client, tools))
                await over.wait()
        except Exception as error:  # of the package, anyio and the system: all mean that it is not there
            if not ready.done():
                where = one_line(self.server.where, 200)
                ready.set_exception(
                    ResourceError(
                        f"the MCP server {self.server.name!r} cannot be used ({where}): {self._explain_failure(error)}"
                    )
                )

    async def _transport(self, stack: AsyncExitStack) -> Any:
        """Open the streams that the package's client reads and writes."""
        if self.server.type == "stdio":
            return _mending(self._mcp.stdio_client(self._process(), errlog=self._errors))
        import httpx2

        url = fill_variables(self.server.url)
        headers = {key: fill_variables(value) for key, value in self.server.headers.items()}

        async def look(response: Any) -> None:
            if response.status_code >= 400:
                self._status = response.status_code

        def http(**settings: Any) -> Any:
            return httpx2.AsyncClient(event_hooks={"response": [look]}, **settings)

        if self.server.type == "sse":
            from mcp.client.sse import sse_client

            factory: Any = http
            return _mending(sse_client(url, headers=headers, httpx_client_factory=factory))
        from mcp.client.streamable_http import streamable_http_client

        client = await stack.enter_async_context(http(headers=headers, timeout=httpx2.Timeout(60.0, read=300.0)))
        return _mending(streamable_http_client(url, http_client=client))

    def _process(self) -> Any:
        """Return the parameters to start its process. Raises ResourceError if it cannot be started."""
        server = self.server
        command = str(Path(fill_variables(server.command)).expanduser())
        cwd = Path(fill_variables(server.cwd)).expanduser() if server.cwd else Path()
        if not cwd.is_dir():
            raise ResourceError(f'there is no folder {str(cwd)!r}, which its "cwd" names')
        env = {key: fill_variables(value) for key, value in server.env.items()}
        at = str(cwd / command) if Path(command).name != command else command
        if shutil.which(at, path=env.get("PATH")) is None:
            raise ResourceError(_no_program(command, has_args=bool(server.args)))
        args = [fill_variables(arg) for arg in server.args]
        # an answer in a wrong encoding costs some of its characters and not the connection
        return self._mcp.StdioServerParameters(
            command=command, args=args, env=env, cwd=cwd, encoding_error_handler="replace"
        )

    def _explain_failure(self, error: BaseException) -> str:
        """Return the sentence that says why it could not be started, and what would be right."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, ResourceError):
            return str(error)
        last = self._last_words()
        said = f', and said "{last}"' if last else ""
        if isinstance(error, TimeoutError):
            return (
                f"it did not list its tools within {self._start_s:g} seconds{said}; "
                'give it longer with "timeout": SECONDS, or take it out'
            )
        if self.server.type == "stdio":
            if _is_closed(error):
                return f"it ended at its start{said}; run its command in a terminal to see what it lacks"
            return f"{type(error).__name__}: {one_line(str(error), 200)}{said}; look at its command and arguments"
        if self._status in (401, 403):
            return f'it wants a login (HTTP {self._status}); write the token into "headers"'
        if self._status:
            return f"it answered with HTTP {self._status}; look at the address, which often ends in /mcp or /sse"
        if "Connect" in type(error).__name__:
            return f"nobody answers there ({one_line(str(error), 120)}); start the server or correct the address"
        return f"{type(error).__name__}: {one_line(str(error), 200)}; look at the address and its type"

    def _last_words(self) -> str:
        """Return the last line that the process wrote on its standard error."""
        if self._errors.closed:
            return ""
        end = self._errors.seek(0, 2)
        self._errors.seek(max(0, end - 4000))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1], 200) if lines else ""


def _no_program(command: str, *, has_args: bool) -> str:
    """Return the sentence for a command that does not exist, with a hint if its arguments are part of it."""
    first, *rest = command.split()
    if rest and not has_args and shutil.which(first):
        return f'there is no program {command!r}; write "command": "{first}" and "args": {json.dumps(rest)}'
    return f'there is no program {command!r} that could be run; install it, or write its whole path as "command"'


async def _list_tools(client: Any) -> list[Any]:
    """List all tools of a server, page by page."""
    tools: list[Any] = []
    seen: set[str] = set()
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor or cursor in seen:  # a server that gives the same page for ever has given it once
            return tools
        seen.add(cursor)


def _is_closed(error: BaseException) -> bool:
    """Whether an error says that the connection is gone. Servers use the package's number for it for errors of their
    own.
    """
    return str(error).startswith(("Connection closed", "Session terminated")) or type(error).__name__ in (
        "ClosedResourceError",
        "BrokenResourceError",
        "EndOfStream",
    )


@asynccontextmanager
async def _mending(transport: Any) -> AsyncIterator[Any]:
    """Wrap a transport so that the server's messages are mended before the package looks at them."""
    async with transport as (read, write):
        yield _Mended(read), write


class _Mended:
    """A stream of messages, mended to forms that the package accepts."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> _Mended:
        return self

    async def __anext__(self) -> Any:
        return _mend_message(await self._stream.__anext__())

    async def receive(self) -> Any:
        return _mend_message(await self._stream.receive())

    async def __aenter__(self) -> _Mended:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *problem: Any) -> Any:
        return await self._stream.__aexit__(*problem)


def _mend_message(message: Any) -> Any:
    """Mend the result in a message."""
    result = getattr(getattr(message, "message", None), "result", None)
    if isinstance(result, dict):
        message.message.result = mend_result(result)
    return message

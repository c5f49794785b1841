"""Server-sent events: callbacks fill a mailbox, a response empties it, and a client that hangs up ends the work behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jielong.errors import ResourceError

T = TypeVar("T")

_quoted = json.encoder.encode_basestring  # in C, where Python has it so

MOST_WAITING = 4096
"""Pieces that may wait for a client before it counts as too slow, and its answer is given up."""
SLOW_S = 30.0
"""A client that takes nothing for so long, or up to twice as long, is given up."""


class Mailbox(Generic[T]):
    """A queue from callbacks to one reader, which takes all waiting items at once. `put` never waits."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._items: list[T] = []
        self._most, self._is_closed = most, False
        self._news = asyncio.Event()
        self.is_overfull = False

    def put(self, item: T) -> None:
        """Add an item, or mark the mailbox as overfull."""
        if len(self._items) >= self._most:
            self.is_overfull = True
        else:
            self._items.append(item)
        self._news.set()

    def close(self) -> None:
        """Close the mailbox for further items."""
        self._is_closed = True
        self._news.set()

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield the items that have arrived since the last batch, until it is closed. Raises ResourceError if too many
        waited.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            if self.is_overfull:
                raise ResourceError("the answer was given up: the client took it too slowly")
            items, self._items = self._items, []
            if items:
                yield items
            if self._is_closed and not self._items:
                return


async def stream_while(work: Callable[[Mailbox[T]], Coroutine[Any, Any, None]]) -> AsyncIterator[list[T]]:
    """Run `work` and yield batches of its mailbox's items. It is cancelled when the reader leaves; its error is raised
    at the end.
    """
    mailbox: Mailbox[T] = Mailbox()
    task = asyncio.create_task(work(mailbox))
    task.add_done_callback(lambda _: mailbox.close())
    try:
        async for lot in mailbox.batches():
            yield lot
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def json_text(text: str) -> str:
    """Format a text as JSON."""
    return str(_quoted(text))


def event(data: Any, name: str = "", id: int | None = None) -> bytes:
    """Format a server-sent event."""
    head = (f"id: {id}\n" if id is not None else "") + (f"event: {name}\n" if name else "")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


class EventStream(Response):
    """A response of server-sent events. If the client hangs up, or reads nothing for long, the source is closed at
    once.
    """

    def __init__(self, source: AsyncIterator[bytes], media_type: str = "text/event-stream") -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"
        self._source = source
        self._is_sending, self._num_sent = False, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        watching = asyncio.create_task(_hung_up(receive))
        waiting = asyncio.create_task(self._wait_for_slow())
        try:
            await asyncio.wait({sending, watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watching, waiting, sending):
                if not task.done():
                    task.cancel()
            await asyncio.gather(sending, watching, waiting, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        """Send the pieces of the source, and close it at the end."""
        try:
            async for body in self._source:
                self._is_sending = True
                await send({"type": "http.response.body", "body": body, "more_body": True})
                self._is_sending = False
                self._num_sent += 1
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()

    async def _wait_for_slow(self) -> None:
        """Return once the client has not read a piece for long. Polling costs less than a timer for each piece."""
        before = -1
        while not (self._is_sending and self._num_sent == before):
            before = self._num_sent if self._is_sending else -1
            await asyncio.sleep(SLOW_S)


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`; if the client hangs up first, cancel it and return None."""
    task = asyncio.create_task(work)
    watching = asyncio.create_task(_hung_up(request.receive))
    try:
        await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        watching.cancel()
        task.cancel()
        await asyncio.gather(task, watching, return_exceptions=True)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue

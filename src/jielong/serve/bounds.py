"""Bounds on the size and duration of requests: of the head before the body is read, of the body while it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from jielong.errors import ConfigError
from jielong.serve.heads import TimelyProtocol
from jielong.serve.refused import Refused

Scope = Mapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

UPLOADS = "/api/library/documents"
"""The path below which a body may be a document."""
IMPORTS = "/api/conversations/import"
"""The path where it may be a conversation with the draws of all its tokens, some 2 kB each."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of one request."""

    body_bytes: int = 4 << 20
    """Of a body: a conversation of a million characters."""
    upload_bytes: int = 64 << 20
    """Of a document, as many as `data.bounded` reads of a page."""
    header_bytes: int = 32 << 10
    num_headers: int = 100
    query_bytes: int = 8 << 10
    """Of what stands behind the question mark. A Chinese letter takes nine."""
    pause_s: float = 15.0
    """The longest wait for the next piece of a body."""
    patience_s: float = 30.0
    """All waits for a body together, and beyond it a second for each `bytes_a_second` that came."""
    bytes_a_second: int = 50_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(f"the bound {name} is {value}; it must be above 0")

    def check_head(self, scope: Scope) -> None:
        """Raise Refused for a request with too long an address or headers, or with too large a Content-Length."""
        query = len(scope.get("query_string", b""))
        if query > self.query_bytes:
            raise Refused(414, f"the query of the address has {query:,} bytes; at most {self.query_bytes:,} are read")
        headers = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) > self.num_headers or size > self.header_bytes:
            raise Refused(
                431,
                f"the request has {len(headers)} headers of {size:,} bytes; at most {self.num_headers} of "
                f"{self.header_bytes:,} are read",
            )
        announced = next((value for name, value in headers if name.lower() == b"content-length"), b"0")
        limit = self.limit_of(scope["path"])
        # the server refuses what is no number; one with a thousand digits is only compared
        if announced.isdigit() and (len(announced) > 15 or int(announced) > limit):
            raise _too_large(limit)

    def limit_of(self, path: str) -> int:
        """Return the maximum bytes of a body sent to this path."""
        is_large = path in (IMPORTS, UPLOADS) or path.startswith(f"{UPLOADS}/")
        return self.upload_bytes if is_large else self.body_bytes


def server_options() -> dict[str, Any]:
    """Return uvicorn's options under which our bounds hold from the first byte on.

    h11 refuses a head beyond its bound while reading it; httptools has no bound. A proxy's headers are trusted from
    this machine alone. The access log shows no query and no header, so it contains no key.
    """
    return {
        "http": TimelyProtocol,
        "lifespan": "off",
        "ws": "none",
        "h11_max_incomplete_event_size": 64 << 10,
        "limit_concurrency": 256,
        "timeout_keep_alive": 15,
        # pages keep a stream open for as long as they are
        "timeout_graceful_shutdown": 2,
        "server_header": False,
        "forwarded_allow_ips": "127.0.0.1,::1",
        "access_log": False,
        "use_colors": False,
    }


class Body:
    """The body of a request, counted and timed while the app receives it; `refused` is set if it exceeds a bound.

    Only waiting for the client counts, so a slow app does not make its client slow.
    """

    def __init__(self, receive: Receive, limit: int, bounds: Bounds) -> None:
        self._receive, self._limit, self._bounds = receive, limit, bounds
        self._num_bytes, self._waited_s, self._is_whole = 0, 0.0, False
        self.refused: Refused | None = None

    async def receive(self) -> Event:
        """Return the next event; raise Refused beyond a bound, at every further call too."""
        if self.refused:
            raise self.refused
        if self._is_whole:  # from here on it is waited for the client to go away
            return await self._receive()
        event = await self._next_event()
        if event["type"] == "http.request":
            self._num_bytes += len(event.get("body", b""))
            self._is_whole = not event.get("more_body", False)
            if self._num_bytes > self._limit:
                self.refused = _too_large(self._limit)
                raise self.refused
        return event

    async def _next_event(self) -> Event:
        """Wait for the next event. Raises Refused if it comes too late."""
        bounds = self._bounds
        left_s = bounds.patience_s + self._num_bytes / bounds.bytes_a_second - self._waited_s
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(min(bounds.pause_s, left_s)):
                return await self._receive()
        except TimeoutError:
            self.refused = Refused(
                408,
                f"the body of the request came too slowly: {self._num_bytes:,} bytes so far; send it within "
                f"{bounds.patience_s:g} s, or at {bounds.bytes_a_second:,} bytes a second",
                headers={"Connection": "close"},
            )
            raise self.refused from None
        finally:
            self._waited_s += time.monotonic() - begun_s


def _too_large(limit: int) -> Refused:
    """Return the refusal of a body that is too large."""
    # what is left of the body is not read: the connection cannot be used again
    return Refused(
        413,
        f"the body of the request is larger than {limit:,} bytes, which is the most",
        headers={"Connection": "close"},
    )

"""A time limit for request heads: a client that sends an incomplete head, or nothing, loses its connection.

uvicorn bounds the time between two requests and nothing before the first, so a few hundred silent clients would use up
all connections.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimelyProtocol(H11Protocol):
    """An HTTP protocol that closes a connection if the next request head is incomplete after `head_s` seconds."""

    head_s: ClassVar[float] = 15.0
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Pass data on, and start or stop the timer for a head."""
        super().data_received(data)
        if not self._is_waiting:
            self._stop_waiting()
        elif self._due is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_waiting(self) -> bool:
        """Whether the connection waits for a request's head."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._due = self.loop.call_later(self.head_s, self._close_if_waiting)

    def _stop_waiting(self) -> None:
        """Stop the timer for a head."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _close_if_waiting(self) -> None:
        """Close the connection if the head has not come in time."""
        self._due = None
        if self._is_waiting:
            self.transport.close()

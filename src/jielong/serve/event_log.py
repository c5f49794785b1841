"""An event log of an unfinished answer, which any number of followers read from the beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

SNAPSHOTS = ("html", "thoughts", "usage", "loading")
"""Events that replace the ones of their kind before them: who comes late is told the last one alone."""

StreamEvent = tuple[int, str, Any]
"""The number of an event, its name, and its data."""


class Log:
    """A log of events in order. Followers wait for the next event; the writer never waits for followers."""

    def __init__(self) -> None:
        self._events: list[StreamEvent | None] = []
        self._last: dict[str, int] = {}
        self._is_over = False
        self._news = asyncio.Event()

    def tell(self, name: str, data: Any) -> None:
        """Add an event."""
        if name in SNAPSHOTS:
            before = self._last.get(name)
            if before is not None:
                self._events[before] = None
            self._last[name] = len(self._events)
        self._events.append((len(self._events), name, data))
        self._wake()

    def end(self) -> None:
        """Close the log."""
        self._is_over = True
        self._wake()

    async def follow(self, after: int = -1) -> AsyncIterator[StreamEvent]:
        """Yield the events after number `after`, past and future, until the log is closed."""
        at = max(0, after + 1)
        while True:
            news = self._news
            while at < len(self._events):
                one = self._events[at]
                at += 1
                if one is not None:
                    yield one
            if self._is_over:
                return
            if news is self._news:
                await news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

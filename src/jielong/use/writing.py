"""Writers, which step the engine behind a port: in the event loop (`InLoop`), or on a thread (`generate/runner`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from jielong.records import Event, Generator, Request, Sample

T = TypeVar("T")

OnEvents = Callable[[Sequence[Event]], None]
OnError = Callable[[Exception], None]


class Writer(Protocol):
    """The protocol of a writer: it writes all submitted requests at the same time, and sends each caller its own
    events.
    """

    def submit(self, request: Request, on_events: OnEvents, on_error: OnError, **more: Any) -> int:
        """Queue a request and return its number. `on_events` gets its events, `on_error` its error; `more` are the
        engine's options.
        """
        ...

    async def cancel(self, number: int) -> Sample | None:
        """Give up a request; return the sample so far, or None if it is over."""
        ...

    def drop(self, number: int) -> None:
        """Give up a request that nobody waits for any more."""
        ...

    async def call(self, work: Callable[[Any], T]) -> T:
        """Return the result of `work` on the engine."""
        ...


class InLoop:
    """A writer that steps the engine in the caller's event loop, and lets others run between two steps."""

    def __init__(self, engine: Generator) -> None:
        self.engine = engine
        self._readers: dict[int, tuple[OnEvents, OnError]] = {}
        self._stepping: asyncio.Task[None] | None = None

    def submit(self, request: Request, on_events: OnEvents, on_error: OnError, **more: Any) -> int:
        """Submit a request and start stepping if the loop is idle."""
        number = self.engine.submit(request, **_set_options(more))
        self._readers[number] = (on_events, on_error)
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.get_running_loop().create_task(self._step())
        return number

    async def cancel(self, number: int) -> Sample | None:
        self._readers.pop(number, None)
        return self.engine.cancel(number)

    def drop(self, number: int) -> None:
        self._readers.pop(number, None)
        self.engine.cancel(number)

    async def call(self, work: Callable[[Any], T]) -> T:
        return work(self.engine)

    async def _step(self) -> None:
        """Step until nobody waits any more; between two steps other tasks may run."""
        try:
            while self._readers:
                await asyncio.sleep(0)
                for event in self.engine.step():
                    reader = self._readers.get(event.request)
                    if reader is None:
                        continue
                    if event.stop:
                        del self._readers[event.request]
                    reader[0]((event,))
        except Exception as error:
            readers, self._readers = self._readers, {}
            for _, on_error in readers.values():
                on_error(error)


def _set_options(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were set: a generator that has none of them need not know them."""
    return {name: value for name, value in more.items() if value}

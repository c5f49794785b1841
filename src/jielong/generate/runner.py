"""The engine on a thread of its own, for a server whose callers wait in an event loop.

Commands reach the thread through a queue and run between two steps. Events return to the event loop, all of one step in
one call. The thread never waits for a caller.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jielong.errors import JielongError, ResourceError
from jielong.generate.engine import Engine
from jielong.generate.requests import Allowed
from jielong.native.library import dismiss_threads
from jielong.records import Event, Request, Sample

T = TypeVar("T")

REST_S = 1.0
"""An engine that is not asked for so long lets its threads go."""

OnEvents = Callable[[Sequence[Event]], None]
OnError = Callable[[Exception], None]


@dataclass
class _Reader:
    """The caller of a request: its event loop, and its callbacks."""

    loop: asyncio.AbstractEventLoop
    on_events: OnEvents
    on_error: OnError
    asked_s: float = field(default_factory=time.monotonic)
    id: int = -1
    """The request's number in the engine; -1 before it has one."""
    fault: list[Exception] = field(default_factory=list)
    """Filled where its own mask could not be made."""


class Runner:
    """A thread that steps an engine for callers in any event loop, until `close`."""

    def __init__(
        self, engine: Engine, name: str = "engine", on_first_token: Callable[[float], None] | None = None
    ) -> None:
        """Start the thread; `on_first_token` is called for each request with the seconds until its first token."""
        self.engine, self._on_first_token = engine, on_first_token
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._readers: dict[int, _Reader] = {}
        self._number_of: dict[int, int] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"runner of {name}", daemon=True)
        self._thread.start()

    def submit(
        self,
        request: Request,
        on_events: OnEvents,
        on_error: OnError,
        **more: Any,
    ) -> int:
        """Queue a request and return its number. `on_events` is called with each step's events, in the caller's event
        loop.

        `on_error` is called with an error; `more` are options of the engine's `submit`. TooLongError and ConfigError
        are raised at once, as there.
        """
        self.engine.check(request)
        reader = _Reader(asyncio.get_running_loop(), on_events, on_error)
        with self._lock:
            number, self._next = self._next, self._next + 1
            if self._is_closed:
                raise ResourceError("the model was let go while it was being asked; ask again")
            self._readers[number] = reader

        def begin() -> None:
            """Submit the request on the engine's thread."""
            allowed: Allowed | None = more.get("allowed")
            guarded = _record_faults(allowed, reader.fault) if allowed is not None else None
            try:
                reader.id = self.engine.submit(request, **{**more, "allowed": guarded})
            except JielongError as error:
                self._fail(number, error)
                return
            self._number_of[reader.id] = number

        self._commands.put(begin)
        return number

    async def cancel(self, number: int) -> Sample | None:
        """Cancel a request; return its sample so far, or None if it has finished."""
        return await self.call(lambda engine: self._cancel_now(number))

    def drop(self, number: int) -> None:
        """Cancel a request without waiting for its sample."""
        if number in self._readers and not self._is_closed:
            self._commands.put(lambda: self._give_up(number))

    async def call(self, work: Callable[[Engine], T]) -> T:
        """Call `work` with the engine, on its thread between two steps, and return the result."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def answer() -> None:
            """Do the work on the engine's thread and send its result back."""
            try:
                found = work(self.engine)
            except Exception as error:
                _call_in_loop(loop, _set_future, done, None, error)
            else:
                _call_in_loop(loop, _set_future, done, found, None)

        with self._lock:
            if self._is_closed:
                raise ResourceError("the model was let go while it was being asked; ask again")
            self._commands.put(answer)
        return await done

    def close(self) -> None:
        """End the thread after the current step; unfinished requests fail with a ResourceError."""
        with self._lock:
            self._is_closed = True
        self._commands.put(None)
        self._thread.join()

    # --- on the thread

    def _run(self) -> None:
        """Run commands and steps until closed; the body of the thread."""
        while True:
            is_idle = not (self.engine.num_live or self.engine.num_waiting)
            if not self._run_commands(is_idle):
                break
            if self.engine.num_live or self.engine.num_waiting:
                self._step()
        for number in list(self._readers):
            self._fail(number, ResourceError("the model was let go while it was writing; ask again"))

    def _run_commands(self, is_idle: bool) -> bool:
        """Run the waiting commands, or wait for one if the engine is idle; return False to end."""
        while True:
            try:
                command = self._commands.get(block=is_idle, timeout=REST_S)
            except queue.Empty:
                if not is_idle:
                    return True
                dismiss_threads()  # those of another model that is at work would sleep more because of them
                command = self._commands.get()
            if command is None:
                return False
            command()
            is_idle = False

    def _step(self) -> None:
        """Step the engine and send the events to their callers."""
        try:
            events = self.engine.step()
        except Exception as error:
            self._recover(error)
            return
        told: dict[asyncio.AbstractEventLoop, dict[int, list[Event]]] = {}
        for event in events:
            number = self._number_of.get(event.request)
            if number is not None:
                if self._on_first_token and event.n == 0:
                    self._on_first_token(time.monotonic() - self._readers[number].asked_s)
                told.setdefault(self._readers[number].loop, {}).setdefault(number, []).append(event)
        for loop, by_number in told.items():
            lots = [(self._readers[number].on_events, lot) for number, lot in by_number.items()]
            for number, lot in by_number.items():
                if lot[-1].stop:
                    self._forget(number)
            _call_in_loop(loop, _deliver, lots)

    def _recover(self, error: Exception) -> None:
        """Fail the requests whose masks raised in a step, or else all of them."""
        faulty = [number for number, reader in self._readers.items() if reader.fault]
        for number in faulty or list(self._readers):
            reader = self._readers[number]
            if reader.id >= 0:
                self.engine.cancel(reader.id)
            self._fail(number, reader.fault[0] if reader.fault else error)

    def _give_up(self, number: int) -> None:
        self._cancel_now(number)

    def _cancel_now(self, number: int) -> Sample | None:
        """Cancel a request on the engine's thread."""
        reader = self._readers.get(number)
        if reader is None or reader.id < 0:
            self._readers.pop(number, None)
            return None
        self._forget(number)
        return self.engine.cancel(reader.id)

    def _forget(self, number: int) -> None:
        reader = self._readers.pop(number)
        self._number_of.pop(reader.id, None)

    def _fail(self, number: int, error: Exception) -> None:
        """Forget a request and pass `error` to its caller."""
        reader = self._readers[number]
        self._forget(number)
        _call_in_loop(reader.loop, reader.on_error, error)


def _record_faults(allowed: Allowed, faults: list[Exception]) -> Allowed:
    """Wrap a hook so that its exceptions are also added to `faults`, since the engine does not report whose mask
    failed.
    """

    def remember(written: Sequence[int]) -> Any:
        """Call the hook, and record its exception."""
        try:
            return allowed(written)
        except Exception as error:
            faults.append(error)
            raise

    return remember


def _call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Schedule `function(*arguments)` in an event loop from any thread; do nothing if the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # closed: nobody is there to be told
        return


def _deliver(lots: Sequence[tuple[OnEvents, Sequence[Event]]]) -> None:
    for on_events, lot in lots:
        on_events(lot)


def _set_future(done: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    """Set a future's result or exception, unless it is done."""
    if done.done():
        return
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(error)

"""The engine on a thread of its own, for a server: whoever asks waits in an event loop, and the engine for nobody.

Commands go to the thread by a queue and are taken between two steps; events come back into the event loop, those of one
step in one call. The thread never waits for whoever reads them.
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

Heard = Callable[[Sequence[Event]], None]
Failed = Callable[[Exception], None]


@dataclass
class _Reader:
    """The caller of a request: its event loop, and its callbacks."""

    loop: asyncio.AbstractEventLoop
    heard: Heard
    failed: Failed
    asked_s: float = field(default_factory=time.monotonic)
    id: int = -1
    """The request's number in the engine; -1 before it has one."""
    fault: list[Exception] = field(default_factory=list)
    """Filled where its own mask could not be made."""


class Runner:
    """Steps an engine for callers of any event loop, until `close`."""

    def __init__(self, engine: Engine, name: str = "engine", began: Callable[[float], None] | None = None) -> None:
        """`began` hears of each request after how many seconds it has its first token."""
        self.engine, self._began = engine, began
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
        heard: Heard,
        failed: Failed,
        **more: Any,
    ) -> int:
        """Queue a request; its number here. `heard` gets its events in the caller's event loop, each step's in one call.

        `failed` is told where it cannot go on; `more` are options of the engine's `submit`. TooLongError and ConfigError as
        there, at once.
        """
        self.engine.check(request)
        reader = _Reader(asyncio.get_running_loop(), heard, failed)
        with self._lock:
            number, self._next = self._next, self._next + 1
            if self._is_closed:
                raise ResourceError("the model was let go while it was being asked; ask again")
            self._readers[number] = reader

        def begin() -> None:
            allowed: Allowed | None = more.get("allowed")
            guarded = _remembering(allowed, reader.fault) if allowed is not None else None
            try:
                reader.id = self.engine.submit(request, **{**more, "allowed": guarded})
            except JielongError as error:
                self._fail(number, error)
                return
            self._number_of[reader.id] = number

        self._commands.put(begin)
        return number

    async def cancel(self, number: int) -> Sample | None:
        """Give up a request: what it wrote, or None where it is over."""
        return await self.do(lambda engine: self._cancelled(number))

    def drop(self, number: int) -> None:
        """Give up a request that nobody waits for any more."""
        if number in self._readers and not self._is_closed:
            self._commands.put(lambda: self._give_up(number))

    async def do(self, work: Callable[[Engine], T]) -> T:
        """Return the result of `work` on the engine, run on its thread between two steps."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def answer() -> None:
            try:
                found = work(self.engine)
            except Exception as error:
                _call(loop, _set, done, None, error)
            else:
                _call(loop, _set, done, found, None)

        with self._lock:
            if self._is_closed:
                raise ResourceError("the model was let go while it was being asked; ask again")
            self._commands.put(answer)
        return await done

    def close(self) -> None:
        """End the thread after its step; requests under way fail with a ResourceError."""
        with self._lock:
            self._is_closed = True
        self._commands.put(None)
        self._thread.join()

    # --- on the thread

    def _run(self) -> None:
        while True:
            is_idle = not (self.engine.num_live or self.engine.num_waiting)
            if not self._obey(is_idle):
                break
            if self.engine.num_live or self.engine.num_waiting:
                self._step()
        for number in list(self._readers):
            self._fail(number, ResourceError("the model was let go while it was writing; ask again"))

    def _obey(self, is_idle: bool) -> bool:
        """Carry out the commands that wait, and where nothing else is to be done wait for one; False to end."""
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
        try:
            events = self.engine.step()
        except Exception as error:
            self._recover(error)
            return
        told: dict[asyncio.AbstractEventLoop, dict[int, list[Event]]] = {}
        for event in events:
            number = self._number_of.get(event.request)
            if number is not None:
                if self._began and event.n == 0:
                    self._began(time.monotonic() - self._readers[number].asked_s)
                told.setdefault(self._readers[number].loop, {}).setdefault(number, []).append(event)
        for loop, by_number in told.items():
            lots = [(self._readers[number].heard, lot) for number, lot in by_number.items()]
            for number, lot in by_number.items():
                if lot[-1].stop:
                    self._forget(number)
            _call(loop, _tell, lots)

    def _recover(self, error: Exception) -> None:
        """After a step that failed: give up the requests whose masks failed, or else all of them."""
        faulty = [number for number, reader in self._readers.items() if reader.fault]
        for number in faulty or list(self._readers):
            reader = self._readers[number]
            if reader.id >= 0:
                self.engine.cancel(reader.id)
            self._fail(number, reader.fault[0] if reader.fault else error)

    def _give_up(self, number: int) -> None:
        self._cancelled(number)

    def _cancelled(self, number: int) -> Sample | None:
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
        reader = self._readers[number]
        self._forget(number)
        _call(reader.loop, reader.failed, error)


def _remembering(allowed: Allowed, faults: list[Exception]) -> Allowed:
    """The hook, whose exceptions are kept in `faults` too: the engine does not say whose mask it was."""

    def remember(written: Sequence[int]) -> Any:
        try:
            return allowed(written)
        except Exception as error:
            faults.append(error)
            raise

    return remember


def _call(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *arguments: Any) -> None:
    """Call it in the event loop, unless that is over."""
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:  # closed: nobody is there to be told
        return


def _tell(lots: Sequence[tuple[Heard, Sequence[Event]]]) -> None:
    for heard, lot in lots:
        heard(lot)


def _set(done: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(error)

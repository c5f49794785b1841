"""A process that can be killed, for work on input of others that may never end.

Parsers in C ignore Ctrl-C and threads, and some documents, templates and formulas take more time or memory than anybody
has. So that work is done in a process of its own, which is kept for the next call, watched, and killed and replaced
when it exceeds its limits. The caller gets the result, or a LimitError that says which limit it was.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import select
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jielong.errors
from jielong.errors import JielongError, LimitError, ResourceError

TOO_LONG, TOO_MUCH_MEMORY, DIED = "took too long", "took too much memory", "ended its reader"
"""The reasons of a LimitError from here."""
_START_S = 60.0
_WALL = 6
"""Seconds are those of its own work, as a machine may be busy with other things; so many times as long it may last."""
_TICK_S = 0.02
_LOT_CALLS, _LOT_BYTES = 32, 1 << 18
"""Of the calls that are sent together: a message costs a tenth of a millisecond."""

_START = "import sys; sys.path[:] = sys.argv[3:]; from jielong.outside.working import serve; serve(sys.argv[1], int(sys.argv[2]))"


class Worker:
    """Calls the function at `path` ("package.module:name") in another process, each call within `limit_s` and
    `memory_bytes`.

    `limit_s` may be a function of the arguments. Arguments are pickled; results are JSON (a tuple comes back as a
    list). Threads may share a worker: it has as many processes as there are calls at once, started when needed and
    kept. They end with this process: at once when idle, else at the end of their limit. After a fork the new process
    has none of them.
    """

    def __init__(self, path: str, *, limit_s: float | Callable[..., float], memory_bytes: int) -> None:
        self.path, self.limit_s, self.memory_bytes = path, limit_s, memory_bytes
        self._idle: list[_Process] = []
        self._owner = os.getpid()

    def call(self, *arguments: Any) -> Any:
        """Return the function's result. Raises the JielongErrors that it raises, and LimitError if the process was
        killed or died.
        """
        (found,) = self.each([arguments])
        if isinstance(found, JielongError):
            raise found
        return found

    def each(self, calls: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results of many calls in order, a JielongError in place of one that failed.

        Calls are sent in batches; the next batch is worked on while the caller looks at the results of the last.
        """
        lots = _batch_calls(calls)
        lot = next(lots, None)
        if lot is None:
            return
        process = self._idle_process()
        try:
            process.send(lot)
            while lot:
                found = list[Any]()
                while len(found) < len(lot):
                    try:
                        found.append(process.receive())
                    except _Ended as ended:
                        process.end()
                        # what an earlier call left behind may be to blame: then the same is tried on a fresh process
                        if process.is_fresh or ended.reason == TOO_LONG:
                            found.append(self._failure(ended.reason, lot[len(found)]))
                        if len(found) < len(lot):
                            process = _Process(self)
                            process.send(lot[len(found) :])
                lot = next(lots, None)
                if lot:
                    process = process if process.is_alive else _Process(self)
                    process.send(lot)
                yield from found
        except BaseException:  # whoever asks has gone away, perhaps by Ctrl-C: it is in the middle of something
            process.end()
            raise
        if process.is_alive:
            self._idle.append(process)

    def seconds(self, arguments: Sequence[Any]) -> float:
        """The limit of a call with these arguments."""
        return self.limit_s(*arguments) if callable(self.limit_s) else self.limit_s

    def _failure(self, reason: str, arguments: Sequence[Any]) -> LimitError:
        """Build the LimitError that says which limit a call exceeded."""
        beyond = {
            TOO_LONG: f": more than {self.seconds(arguments):g} s",
            TOO_MUCH_MEMORY: f": more than {self.memory_bytes:,} bytes",
        }
        return LimitError(f"it {reason}{beyond.get(reason, '')}", reason)

    def _idle_process(self) -> _Process:
        """Return an idle process, or start one."""
        if self._owner != os.getpid():  # after a fork: they belong to the parent
            self._idle, self._owner = [], os.getpid()
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return _Process(self)


class _Ended(Exception):
    """Raised when the process exceeded a limit or died."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Process:
    """One process of a worker, and the pipes to it; `is_fresh` before its first answer. It ends with its last reference."""

    is_alive = False

    def __init__(self, worker: Worker) -> None:
        import psutil  # late: most commands need no worker

        self._worker, self._limits_s = worker, deque([_START_S])
        self.is_alive = self.is_fresh = True
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, worker.path, str(worker.memory_bytes), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent
            # threads of numpy would each take addresses for a stack
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        _alive.add(self)
        assert self._process.stdin and self._process.stdout
        self._into, self._out_of = self._process.stdin, self._process.stdout.fileno()
        self._watched = psutil.Process(self._process.pid)
        self._heard, self._poll = bytearray(), select.poll()
        self._poll.register(self._out_of, select.POLLIN)
        self._begin()
        try:
            self.receive()  # which it says when it has imported the function
        except _Ended as ended:
            self.end()
            raise ResourceError(f"the process for {worker.path} does not start: it {ended.reason}") from None
        except BaseException:
            self.end()
            raise
        self.is_fresh = True

    def _begin(self) -> None:
        """Count the time from here."""
        self._begun_s, self._begun_cpu_s = time.monotonic(), -1.0

    def send(self, lot: Sequence[Sequence[Any]]) -> None:
        """Send a batch of calls to the process, which must be idle."""
        self._limits_s = deque(map(self._worker.seconds, lot))
        calls = list(zip(self._limits_s, lot, strict=True))
        with contextlib.suppress(BrokenPipeError):  # it is gone, as `receive` will see
            left = memoryview(pickle.dumps(calls, protocol=pickle.HIGHEST_PROTOCOL))
            while left:
                left = left[self._into.write(left) or 0 :]
        self._begin()

    def receive(self) -> Any:
        """Return the next result, or the JielongError that it was; raise _Ended if a limit is exceeded or the process
        died.
        """
        answer = json.loads(self._read_line())
        self._limits_s.popleft()
        self._begin()
        if "memory" in answer:
            raise _Ended(TOO_MUCH_MEMORY)
        if "bug" in answer:
            raise RuntimeError(f"in a worker:\n{answer['bug']}")
        self.is_fresh = False
        if "error" not in answer:
            return answer["value"]
        kind = getattr(jielong.errors, answer["error"], JielongError)
        return kind(answer["message"], answer["reason"]) if kind is LimitError else kind(answer["message"])

    def _read_line(self) -> bytes:
        """Read one line of the process's output, and check its limits while waiting."""
        looked = 0
        while (end := self._heard.find(b"\n", looked)) < 0:
            looked = len(self._heard)
            if not self._poll.poll(1000 * _TICK_S):
                self._check()
                continue
            piece = os.read(self._out_of, 1 << 20)
            if not piece:
                raise _Ended(DIED)
            self._heard += piece
        line = bytes(self._heard[:end])
        del self._heard[: end + 1]
        return line

    def _check(self) -> None:
        """Raise _Ended if the process has worked for too long or holds too much memory."""
        import psutil

        try:
            with self._watched.oneshot():
                times, held = self._watched.cpu_times(), self._watched.memory_info().rss
        except psutil.NoSuchProcess:
            return  # its pipe says so too
        cpu_s = times.user + times.system
        if self._begun_cpu_s < 0:
            self._begun_cpu_s = cpu_s
        if held > self._worker.memory_bytes:
            raise _Ended(TOO_MUCH_MEMORY)
        limit_s = self._limits_s[0]
        if cpu_s - self._begun_cpu_s > limit_s or time.monotonic() - self._begun_s > _WALL * limit_s:
            raise _Ended(TOO_LONG)

    def end(self) -> None:
        """Kill the process, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self.let_go()

    def __del__(self) -> None:
        if self.is_alive:
            self.end()

    def let_go(self) -> None:
        """Close the pipes alone, as a forked process must: else the worker would not see its parent end."""
        self.is_alive = False
        _alive.discard(self)
        assert self._process.stdin and self._process.stdout
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def _batch_calls(calls: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Group calls into batches, bounded by their number and their size."""
    lot, size = list[Sequence[Any]](), 0
    for call in calls:
        lot.append(call)
        size += sum(len(part) for part in call if isinstance(part, (bytes, str)))
        if len(lot) >= _LOT_CALLS or size >= _LOT_BYTES:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


_alive: weakref.WeakSet[_Process] = weakref.WeakSet()


def _end_all() -> None:
    for process in list(_alive):
        process.end()


def _forget_all() -> None:
    """In a forked process, close the pipes of all workers and leave the processes to the parent."""
    for process in list(_alive):
        process._process.returncode = 0  # it is the parent's to wait for
        process.let_go()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)

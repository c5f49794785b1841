"""Sandboxes for a model's Python, which can reach nothing: no file, network, process or secret of this machine.

`Monty` interprets a part of the language (package pydantic-monty): its worker has no operating system to call, and
stops at a stated memory, time and depth. `bubblewrap` runs full CPython. Both answer with the printed output and the
value of the last line, or with the error as Python words it, and both examine a program: it and its tests run in a
sandbox each, and between them only plain data goes (`inside`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from jielong.config import at_least
from jielong.errors import ConfigError
from jielong.use.tools.inside import Refused, names_taken, pack_value, unpack_value
from jielong.use.tools.tool import Arguments, Tool, shortened

MAX_OUTPUT = 20_000
"""Characters of output that are read at most."""
# It looks for its program with `sysconfig`, which fails now and then when threads use it for the first time together.
_OPENING = threading.Lock()
_MAX_CALLS = 1_000_000
_PLAIN = ("NoneType", "bool", "int", "float", "complex", "str", "bytes", "list", "tuple", "dict", "set", "frozenset")


@dataclass(frozen=True)
class Ran:
    """The output of a program, and whether it ended without an error; for tests, the object that could not cross."""

    output: str
    is_fine: bool
    refused: str = ""


class Sandbox(Protocol):
    """The protocol of a sandbox for untrusted Python."""

    async def run(self, code: str) -> Ran:
        """Run a program; return its output and last value. Raises ResourceError if this machine cannot run it."""
        ...

    async def examine(self, program: str, tests: str) -> Ran:
        """Test a program; return whether it passes, and the output of both."""
        ...


@dataclass(frozen=True)
class Monty:
    """The interpreter of pydantic-monty, within `memory_mb` MiB of heap and `seconds` of running."""

    memory_mb: int = 128
    seconds: float = 5.0
    depth: int = 200

    def __post_init__(self) -> None:
        at_least(self, 1, "memory_mb", "depth")
        _monty()

    async def run(self, code: str) -> Ran:
        # Its own asynchronous pool aborts the process at exit now and then (1.4.0); in a thread it does not.
        return await asyncio.to_thread(self._run, code)

    async def examine(self, program: str, tests: str) -> Ran:
        """Run tests against a program, in a worker each. Tests cannot hand the program's functions to `map`."""
        return await asyncio.to_thread(self._examine, program, tests)

    def _run(self, code: str) -> Ran:
        """Interpret code and return its output."""
        printed = self._printed()
        with self._workers(1) as (session,):
            try:
                value = session.feed_run(code, print_callback=printed)
            except _monty().MontyError as error:
                return Ran(joined(printed.output, _words(error)), False)
        return Ran(joined(printed.output, "" if value is None else repr(value)), True)

    def _examine(self, program: str, tests: str) -> Ran:
        """Interpret a program and its tests, connected by calls."""
        printed, monty = self._printed(), _monty()
        with self._workers(2) as (theirs, ours):
            across = _Across(theirs, printed, self.seconds)
            try:
                theirs.feed_run(program, print_callback=printed)
                values = across.import_names(names_taken(tests))
                ours.feed_run(across.functions, external_lookup={"_across": across.call}, print_callback=printed)
                ours.feed_run(tests, inputs=values, external_lookup={"_across": across.call}, print_callback=printed)
            except (monty.MontyError, SyntaxError, ValueError) as error:
                return Ran(joined(printed.output, across.refused or _words(error)), False, across.refused)
        return Ran(joined(printed.output, across.refused), not across.refused, across.refused)

    def _printed(self) -> Any:
        return _monty().CollectString(max_bytes=4 * MAX_OUTPUT)

    @contextmanager
    def _workers(self, count: int) -> Iterator[list[Any]]:
        """Open sessions of the interpreter, each in a process of its own."""
        limits = {
            "max_feed_duration_secs": self.seconds,
            "max_memory": self.memory_mb * 2**20,
            "max_recursion_depth": self.depth,
            "max_suspensions": _MAX_CALLS,
            "max_total_sleep_secs": self.seconds,
        }
        with _OPENING:
            pool = _monty().Monty(max_processes=count, request_timeout=2 * self.seconds + 1)
        with pool, ExitStack() as stack:
            yield [stack.enter_context(pool.checkout(limits=limits)) for _ in range(count)]


_FUNCTION = """
def {name}(*args, **kwargs):
    value, after, named = _across("{name}", args, kwargs)
    for old, new in list(zip(args, after)) + [(kwargs[key], named[key]) for key in kwargs]:
        if isinstance(old, list):
            old[:] = new
        elif isinstance(old, (dict, set)):
            old.clear()
            old.update(new)
    return value
"""
"""How a function of the program looks to its tests: what it did to the lists, dicts and sets it was given, they see."""


class _Across:
    """The connection from tests to the program in another worker: its values, and its functions' results, as plain
    data.
    """

    def __init__(self, theirs: Any, printed: Any, seconds: float) -> None:
        self._theirs, self._printed = theirs, printed
        self._seconds, self._until_s = seconds, time.monotonic() + seconds
        self.functions = ""
        self.refused = ""

    def import_names(self, names: set[str]) -> dict[str, Any]:
        """Return the plain values of those `names` that the program defines.

        For every other name it defines, append the source of a function that forwards calls to the program to
        `self.functions`.
        """
        found: dict[str, Any] = {}
        for name in sorted(names):
            try:
                kind = self._fed(f"type({name}).__name__")
            except _monty().MontyError:  # the program has no such name
                continue
            if kind in _PLAIN:
                found[name] = self._copy_plain(self._fed(name))
            else:
                self.functions += _FUNCTION.format(name=name)
        return found

    def call(self, name: str, args: Any, kwargs: Any) -> Any:
        """Call a function of the program and return its result as plain data."""
        try:
            if time.monotonic() > self._until_s:
                raise Refused(f"stopped after {self._seconds:g} seconds")
            code = f"_value = {name}(*_args, **_kwargs)\n(type(_value).__name__, _value, _args, _kwargs)"
            given = self._copy_plain(args), self._copy_plain(kwargs)
            kind, *found = self._fed(code, inputs={"_args": given[0], "_kwargs": given[1]})
            if kind not in _PLAIN:
                raise Refused(f"{name} returns a {kind}, and only plain data goes from a program to its tests")
            return self._copy_plain(found)
        except Refused as refused:
            self.refused = self.refused or str(refused)
            raise RuntimeError(str(refused)) from None
        except _monty().MontyError as error:
            raised = error.exception()
            if not isinstance(raised, Exception) or isinstance(raised, StopIteration):
                raised = RuntimeError(f"the program raised {type(raised).__name__}")
            raise raised from None

    def _fed(self, code: str, inputs: dict[str, Any] | None = None) -> Any:
        return self._theirs.feed_run(code, inputs=inputs, print_callback=self._printed)

    def _copy_plain(self, value: Any) -> Any:
        """Copy a value as plain data. Raises Refused if it is none."""

        def refuse(*things: Any) -> Any:
            raise Refused(
                f"a {type(things[-1]).__name__} does not go between a program and its tests: only plain data does"
            )

        return unpack_value(pack_value(value, refuse), refuse)


def _words(error: Any) -> str:
    return str(error.display() if hasattr(error, "display") else error)


def _monty() -> Any:
    """Import pydantic-monty. Raises ConfigError if it is missing."""
    try:
        import pydantic_monty
    except ImportError:
        raise ConfigError("the Python tool needs pydantic-monty; pip install 'jielong[tools]'") from None
    return pydantic_monty


def joined(printed: str, then: str) -> str:
    text = "\n".join(part.rstrip("\n") for part in (printed, then) if part)
    return shortened(text, MAX_OUTPUT) or "(nothing was printed)"


def python_tool(sandbox: Sandbox) -> Tool:
    """Make the tool `python` over a sandbox."""

    async def run(arguments: Arguments) -> str:
        ran = await sandbox.run(arguments["code"])
        return ran.output if ran.is_fine else f"error: {ran.output}"

    return Tool(
        "python",
        "Runs a Python program without files or network; says what it printed and the value of its last line. 运行 Python 程序。",
        {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
        run,
    )

"""The loop of a worker process: it calls one function, again and again, until its input ends.

It imports nothing heavy by itself. Calls come in pickled, for they are our own; results go back as JSON, since they
were made from input of others.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jielong.errors import JielongError, LimitError


def serve(path: str, memory_bytes: int) -> None:
    """Answer calls of the function at `path` ("package.module:name"): batches of (seconds, arguments) in, a line of
    JSON for each out.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what a library prints must not be taken for a result
        os.dup2(nothing, standard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent that is told, and who then ends this process
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        module, _, name = path.partition(":")
        function = getattr(importlib.import_module(module), name)
        _bound_memory(memory_bytes)
    except Exception:  # whatever keeps it from starting is told
        _send_reply(replies, {"bug": traceback.format_exc()})
        return
    _send_reply(replies, {"value": None})
    with suppress(EOFError):
        while True:
            for limit_s, arguments in pickle.load(requests):
                _bound_time(limit_s)
                _send_reply(replies, _call(function, arguments))


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, Any]:
    """Call the function; return its value or its error as plain data."""
    try:
        return {"value": function(*arguments)}
    except LimitError as error:
        return {"error": "LimitError", "message": str(error), "reason": error.reason}
    except JielongError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"memory": True}
    except Exception:  # a bug of ours: the parent raises it with this traceback
        return {"bug": traceback.format_exc()}


def _send_reply(replies: int, answer: dict[str, Any]) -> None:
    """Write an answer as one line of JSON to the file descriptor `replies`."""
    try:
        line = json.dumps(answer).encode("ascii") + b"\n"
    except MemoryError:
        line = b'{"memory": true}\n'
    left = memoryview(line)
    while left:
        left = left[os.write(replies, left) :]


def _bound_time(limit_s: float) -> None:
    """Let the kernel kill this process when it works far longer than the parent waits: the parent may be gone."""
    until_s = math.ceil(time.process_time() + limit_s) + 2
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with suppress(ValueError):  # a lower limit than that was set around us
        resource.setrlimit(resource.RLIMIT_CPU, (until_s, hard))


def _bound_memory(memory_bytes: int) -> None:
    """Refuse a single allocation far beyond the limit; the parent watches growth towards it."""
    if sys.platform != "linux":  # elsewhere addresses are not counted
        return
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes + memory_bytes // 4, hard))

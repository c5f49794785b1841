"""SIGTERM: a program that is told to end does so at the next moment at which little is lost.

What lies on disk is whole at any moment, so mostly the signal ends the work at once, as Ctrl-C does. Training has more to
lose: within `deferred` the first signal only asks, and the loop saves and ends after its step; a later one ends at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM has come; like KeyboardInterrupt no error, and caught by nobody on the way."""


AGAIN_S = 5.0
"""A second signal this soon is the same one: torchrun sends two."""

_is_deferred = False
_asked_s: float | None = None


def listen() -> None:
    """Let SIGTERM raise `Terminated` from now on; without effect beside the main thread, where no signal arrives."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _told)


def _told(number: int, frame: FrameType | None) -> None:
    global _asked_s
    if not _is_deferred or (_asked_s is not None and time.monotonic() - _asked_s > AGAIN_S):
        raise Terminated
    _asked_s = _asked_s or time.monotonic()


def is_asked() -> bool:
    """Whether SIGTERM has come since `deferred` began."""
    return _asked_s is not None


@contextmanager
def deferred() -> Iterator[None]:
    """Let SIGTERM only ask at first; whoever works in here looks at `is_asked` and ends by raising `Terminated`."""
    global _is_deferred, _asked_s
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred, _asked_s = False, None

"""SIGTERM: a program that is told to end does so at the next moment at which little is lost.

Files on disk are whole at any moment, so mostly the signal ends the work at once, as Ctrl-C does. Training has more to
lose: within `deferred` the first signal only asks, and the loop saves and ends after its step; a later one ends at
once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """Raised on SIGTERM; like KeyboardInterrupt it is no error, and nobody catches it on the way."""


AGAIN_S = 5.0
"""A second signal this soon is the same one: torchrun sends two."""

_is_deferred = False
_asked_s: float | None = None


def listen() -> None:
    """Let SIGTERM raise `Terminated` from now on; without effect outside the main thread, where no signal arrives."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: raise `Terminated`, or only note the time within `deferred`, for the first signal."""
    global _asked_s
    if not _is_deferred or (_asked_s is not None and time.monotonic() - _asked_s > AGAIN_S):
        raise Terminated
    _asked_s = _asked_s or time.monotonic()


def is_asked() -> bool:
    """Whether SIGTERM has come since `deferred` began."""
    return _asked_s is not None


@contextmanager
def deferred() -> Iterator[None]:
    """Let the first SIGTERM only set `is_asked` while inside; the code inside looks at it and raises `Terminated`
    itself.
    """
    global _is_deferred, _asked_s
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred, _asked_s = False, None

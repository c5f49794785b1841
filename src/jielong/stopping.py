"""SIGTERM: a program that is told to end does so at the next moment at which little is lost.

What lies on disk is whole at any moment, so mostly the signal ends the work at once, as Ctrl-C does. Training has more to
lose: within `deferred` the first signal only asks, and the loop saves and ends after its step; a second one ends at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM has come; like KeyboardInterrupt no error, and caught by nobody on the way."""


_is_deferred = _is_asked = False


def listen() -> None:
    """Let SIGTERM raise `Terminated` from now on; without effect beside the main thread, where no signal arrives."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _told)


def _told(number: int, frame: FrameType | None) -> None:
    global _is_asked
    if not _is_deferred or _is_asked:
        raise Terminated
    _is_asked = True


def is_asked() -> bool:
    """Whether SIGTERM has come since `deferred` began."""
    return _is_asked


@contextmanager
def deferred() -> Iterator[None]:
    """Let the first SIGTERM only ask; whoever works in here looks at `is_asked` and ends by raising `Terminated`."""
    global _is_deferred, _is_asked
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred = _is_asked = False

"""Computations beside the engines of a server: on a thread of their own, leaving nothing that slows an engine down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def computed(work: Callable[[], T]) -> T:
    """Return the result of `work`, which computes with torch on a thread beside the event loop."""

    def run() -> T:
        """Do the work, then end the threads that torch has started for it."""
        try:
            return work()
        finally:
            from jielong.native.library import dismiss_threads  # late: the work is the first to need torch

            dismiss_threads()

    return await asyncio.to_thread(run)

"""Torch computations beside the engines of a server: in a thread, whose torch workers end with the computation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def compute_in_thread(work: Callable[[], T]) -> T:
    """Run `work`, a torch computation, in a thread and return its result; no worker threads stay to slow an engine
    down.
    """

    def run() -> T:
        """Do the work, then end the threads that torch has started for it."""
        try:
            return work()
        finally:
            from jielong.native.library import dismiss_threads  # late: the work is the first to need torch

            dismiss_threads()

    return await asyncio.to_thread(run)

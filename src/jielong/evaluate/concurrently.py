"""Concurrent calls of one asynchronous function, at most so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def run_concurrently(
    one: Callable[[int], Awaitable[T]],
    count: int,
    *,
    at_most: int = 16,
    on_end: Callable[[int], None] | None = None,
) -> list[T]:
    """Return `one(0)` to `one(count - 1)` in order, at most `at_most` of them running at a time.

    `on_end` is called with the number of finished calls. The first error cancels the others and is raised.
    """
    numbers, over = iter(range(count)), dict[int, T]()

    async def work() -> None:
        """Take numbers and run them until none is left."""
        for number in numbers:
            over[number] = await one(number)
            if on_end:
                on_end(len(over))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_most, count)):
                group.create_task(work())
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return [over[number] for number in range(count)]

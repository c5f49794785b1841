"""Many calls of one function: in order, not too many at a time, and over when one of them fails."""

from __future__ import annotations

import asyncio

import pytest

from jielong.errors import DataError
from jielong.evaluate.concurrently import run_concurrently


def test_results_come_in_order_and_at_most_so_many_are_under_way() -> None:
    under_way, highest, heard = 0, 0, []

    async def one(number: int) -> int:
        nonlocal under_way, highest
        under_way += 1
        highest = max(highest, under_way)
        await asyncio.sleep(0.001 * (7 - number))  # later ones end earlier
        under_way -= 1
        return number * number

    assert asyncio.run(run_concurrently(one, 7, at_most=3, on_end=heard.append)) == [n * n for n in range(7)]
    assert highest == 3 and heard == list(range(1, 8))
    assert asyncio.run(run_concurrently(one, 0)) == []


def test_the_first_problem_ends_the_others_and_is_raised() -> None:
    ended: list[int] = []

    async def one(number: int) -> None:
        if number == 1:
            raise DataError("number 1")
        await asyncio.sleep(5)
        ended.append(number)

    with pytest.raises(DataError, match="number 1"):
        asyncio.run(run_concurrently(one, 4))
    assert not ended

"""Many questions at the same time, and what one of them cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from bench.strategies.line import Cost
from jielong.records import Conversation
from jielong.use.port import Ask, Options, Usage
from jielong.use.strategy import Outcome, Strategy, run


async def answer_all(
    asked: Iterable[tuple[Strategy, Conversation]], ask: Ask, options: Options
) -> tuple[list[Outcome], Cost]:
    """What each conversation is answered with its strategy, in order."""
    start_s = time.monotonic()
    outcomes = await asyncio.gather(*(run(strategy, said, ask, options) for strategy, said in asked))
    total = sum((outcome.usage for outcome in outcomes), Usage())
    return outcomes, cost(total, len(outcomes), time.monotonic() - start_s)


def cost(total: Usage, count: int, seconds: float) -> Cost:
    """The mean cost of `count` questions that took `seconds` of the clock together."""
    return Cost(total.calls / count, total.tokens / count, seconds / count)

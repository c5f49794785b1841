"""How many answers may be under way: beyond it a client is told to come back, and when."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from jielong.serve.refused import refused_too_much

WAITING_A_SLOT = 8
"""Answers that may wait for each slot of a model."""
_REMEMBERED = 64


class Queue:
    """Counts the answers that are written or wait, of each model; one more than fit is refused."""

    def __init__(self, slots: int) -> None:
        self.most = slots * (1 + WAITING_A_SLOT)
        self._under_way: Counter[str] = Counter()
        self._ends_s: deque[float] = deque(maxlen=_REMEMBERED)

    def num_under_way(self, model: str) -> int:
        return self._under_way[model]

    @contextmanager
    def place(self, model: str, num: int = 1) -> Iterator[None]:
        """Places for `num` answers; Refused (429), with the seconds after which it is worth asking again, where they are taken."""
        if self._under_way[model] + num > self.most:
            told = f"{self._under_way[model]} answers of {model} are written or wait, and {self.most} may"
            raise refused_too_much(f"{told}; ask again later", self._wait_s(), "queue_full")
        self._under_way[model] += num
        try:
            yield
        finally:
            self._under_way[model] -= num
            self._ends_s.extend([time.monotonic()] * num)

    def _wait_s(self) -> float:
        """The time between two answers lately: after it a place should be free."""
        if len(self._ends_s) < 2:
            return 5.0
        return min(60.0, (time.monotonic() - self._ends_s[0]) / len(self._ends_s))

"""Sums of two terms: the smallest world in which a rule can say of every answer whether it is right.

Every pair of terms below a bound is one problem, so that what a model was shown, what it was rewarded on and what it is
examined in are parts of one list, and no sum is in two of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from jielong.errors import ConfigError
from jielong.runs import derive_seed

PLACES = 10_000
"""Pairs of terms at most: below 100."""


@dataclass(frozen=True)
class Sum:
    """Two terms, as they are asked for and answered."""

    a: int
    b: int

    @property
    def question(self) -> str:
        return f"{self.a} + {self.b}"

    @property
    def answer(self) -> str:
        return str(self.a + self.b)


def sums_in_parts(below: int, sizes: tuple[int, ...], seed: int) -> list[list[Sum]]:
    """Return lists of these sizes of different sums with terms below `below`, in an order of the seed."""
    if not 2 <= below * below <= PLACES or sum(sizes) > below * below:
        raise ConfigError(
            f"{sum(sizes):,} sums with terms below {below} are asked for; there are {below * below:,}, and "
            f"{PLACES:,} are the most that are made"
        )
    sums = [Sum(a, b) for a in range(below) for b in range(below)]
    random.Random(derive_seed(seed, "addition")).shuffle(sums)
    parts, taken = [], 0
    for size in sizes:
        parts.append(sums[taken : taken + size])
        taken += size
    return parts

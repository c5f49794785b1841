"""A sequential test of blind votes, which may be checked after every vote, and its budget over repeated presses.

H0 says that the candidate wins a decided vote with probability 1/2 or less. `evidence` is the mean, over all p between
1/2 and 1, of the likelihood ratio of p to 1/2. Under H0 it is a supermartingale that begins at 1, so the probability
that it ever reaches 1/alpha is at most alpha, for any rule of looking and stopping (Ville 1939). Ties, and votes that
call both answers bad, carry no weight.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

LEAST, MOST = 20, 100
"""Votes before a decision, and votes after which there is always one."""

BUDGET = 0.05
"""Probability that a model no better than the one that stands is ever promoted in its place, over all presses together."""

HOPED, TOO_SLIM = 0.75, 0.05
"""Asking ends when a candidate that wins `HOPED` of the votes from now on would be promoted with less than `TOO_SLIM`."""


@dataclass(frozen=True)
class Tally:
    """Votes so far, from the candidate's side."""

    won: int = 0
    lost: int = 0
    tied: int = 0
    """Votes that call both alike, or both bad."""

    @property
    def num_asked(self) -> int:
        return self.won + self.lost + self.tied


def alpha_of(press: int) -> float:
    """Return the share of the budget for the press number `press`, from 1: the budget times 6 / (pi k)^2, which sums to
    the budget.

    The presses share one budget because each is another chance to be promoted by luck (a union bound). Halving it each
    time would leave the tenth press 1/50 of this.
    """
    return BUDGET * 6 / (math.pi * press) ** 2


@functools.cache
def evidence(won: int, lost: int) -> float:
    """Return 2 times the integral over p from 1/2 to 1 of (2p)^won (2 - 2p)^lost, exactly, as a ratio of integers.

    The integral is a tail of the beta distribution, which is one of the binomial: won! lost! / (n + 1)! times the sum
    of C(n + 1, k) for k up to `won`, with n = won + lost.
    """
    n = won + lost
    tail = sum(math.comb(n + 1, k) for k in range(won + 1))
    return tail / ((n + 1) * math.comb(n, won))


def verdict(tally: Tally, alpha: float, num_pairs: int = MOST) -> str:
    """Return "promoted", "refused", or "" while more votes are needed; `num_pairs` is the number of available pairs."""
    most = min(MOST, num_pairs)
    if tally.num_asked < min(LEAST, most):
        return ""
    if tally.num_asked >= LEAST and evidence(tally.won, tally.lost) >= 1 / alpha:
        return "promoted"
    left = most - tally.num_asked
    return "refused" if left <= 0 or chance_left(tally, alpha, left) < TOO_SLIM else ""


@functools.cache
def chance_left(tally: Tally, alpha: float, left: int) -> float:
    """Return the probability that the evidence suffices after `left` more decided votes, each won with probability
    `HOPED`.
    """
    needed = next((w for w in range(left + 1) if evidence(tally.won + w, tally.lost + left - w) >= 1 / alpha), None)
    if needed is None:
        return 0.0
    return sum(math.comb(left, w) * HOPED**w * (1 - HOPED) ** (left - w) for w in range(needed, left + 1))

"""A labeller that compares fresh answers, as a person would who is asked now and then: some comparisons, and not all right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jielong.records import Score
from jielong.train.rewards import Items


class Labels:
    """A scorer that gives the better of two neighbouring samples 1 and the other 0, in the first `pairs` of them.

    `prefers(left, right)` gives for each pair how likely the labeller finds the left one better. Pairs beyond `pairs` get 0
    on both sides, which is no opinion; so do those for which it gives NaN.
    """

    def __init__(self, prefers: Callable[[Items, Items], NDArray[np.float64]], pairs: int, seed: int) -> None:
        self.prefers, self.pairs, self.random = prefers, pairs, np.random.default_rng(seed)

    def __call__(self, items: Items) -> list[Score]:
        asked = min(self.pairs, len(items) // 2)
        likely = self.prefers(items[0 : 2 * asked : 2], items[1 : 2 * asked : 2])
        is_left = self.random.random(asked) < np.nan_to_num(likely)
        values = np.zeros(len(items))
        values[0 : 2 * asked : 2] = np.where(np.isnan(likely), 0.0, is_left)
        values[1 : 2 * asked : 2] = np.where(np.isnan(likely), 0.0, ~is_left)
        return [Score(float(value), source="labels") for value in values]

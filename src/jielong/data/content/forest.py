"""A forest of decision trees as arrays: how likely each row of measures is content.

The coefficients are fitted by `bench/refinery/fitting.py`; the file says from what.
"""
# N rows, T trees, S splits of a tree.

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.data.content.measures import Floats

FILE = "content.npz"


@dataclass(frozen=True)
class Forest:
    """Trees of at most S splits. A row goes to `left` where its measure `feature` is at most `threshold`, else to
    `right`; a negative child -1 - k is leaf k. The sum of the leaves is a log odds.
    """

    feature: NDArray[np.int16]
    threshold: Floats
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    leaves: Floats
    depth: int
    names: tuple[str, ...]
    """The measures that it was fitted to, in their order."""

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probability of content of each row, (N,)."""
        trees, count = np.arange(len(self.feature)), len(rows)
        node = np.zeros((count, len(trees)), dtype=np.int64)
        numbers = np.arange(count)[:, None]
        for _ in range(self.depth):
            at = np.maximum(node, 0)
            goes_left = rows[numbers, self.feature[trees, at]] <= self.threshold[trees, at]
            node = np.where(node < 0, node, np.where(goes_left, self.left[trees, at], self.right[trees, at]))
        odds = self.leaves[trees, -1 - node].sum(axis=1)
        return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float32)


def pack(trees: list[dict[str, Any]], names: tuple[str, ...]) -> Forest:
    """Make a forest of trees as LightGBM's `dump_model` gives them."""
    splits = max(tree["num_leaves"] for tree in trees) - 1
    shape = (len(trees), max(splits, 1))
    feature, left, right = (np.zeros(shape, dtype=np.int16) for _ in range(3))
    threshold, leaves = np.zeros(shape, dtype=np.float32), np.zeros((shape[0], shape[1] + 1), dtype=np.float32)
    deepest = 1
    for number, tree in enumerate(trees):
        todo = [(tree["tree_structure"], 1)]
        while todo:
            node, depth = todo.pop()
            if "leaf_value" in node:
                leaves[number, node.get("leaf_index", 0)] = node["leaf_value"]
                if "leaf_index" not in node or tree["num_leaves"] == 1:
                    left[number, 0] = right[number, 0] = -1
                continue
            deepest, at = max(deepest, depth), node["split_index"]
            feature[number, at], threshold[number, at] = node["split_feature"], _at_most(node["threshold"])
            for side, children in (("left_child", left), ("right_child", right)):
                child = node[side]
                children[number, at] = child["split_index"] if "split_index" in child else -1 - child["leaf_index"]
                todo.append((child, depth + 1))
    return Forest(feature, threshold, left, right, leaves, deepest, names)


def _at_most(number: float) -> np.float32:
    """Return the largest float32 that is not above `number`, so that measures in float32 go to the same sides."""
    rounded = np.float32(number)
    return rounded if rounded <= number else np.nextafter(rounded, np.float32(-np.inf))


@functools.cache
def load() -> Forest:
    """Load the forest that comes with jielong."""
    with resources.as_file(resources.files("jielong.data.content") / FILE) as path, np.load(path) as data:
        names = tuple(str(data["names"]).split("\n"))
        arrays = {name: data[name] for name in ("feature", "threshold", "left", "right", "leaves")}
        return Forest(**arrays, depth=int(data["depth"]), names=names)

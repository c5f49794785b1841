"""A bag of words that scores answers: the baseline beside which a reward model is told.

It knows which words an answer has and nothing of their order, of the prompt or of the world. Fitted to the same
comparisons, it says how much of them is told by words alone, such as refusals, swearing and length.
"""
# P comparisons, W words.

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from jielong.evaluate.comparing_scores import Floats

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)
FOLDS = 4
MOST_WORDS = 20_000
STEPS = 120
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’][^\W_]+)?|[^\w\s]")
_HAN = re.compile(r"[\u3400-\u9fff]")


def words_of(text: str) -> Counter[str]:
    """Count the words of a text, lower case: words, signs, Chinese characters, and each two of these in a row."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    pairs = [a + b for a, b in pairwise(words) if _HAN.match(a) and _HAN.match(b)]
    return Counter([*words, *pairs])


@dataclass(frozen=True)
class BagOfWords:
    """The weight of each word; a word that occurs n times counts log(1 + n)."""

    weights: Mapping[str, float]
    penalty: float

    def score(self, text: str) -> float:
        """Return the score of an answer; only differences mean something."""
        return sum(self.weights.get(word, 0.0) * math.log1p(count) for word, count in words_of(text).items())


@dataclass(frozen=True)
class _Rows:
    """A sparse matrix (P, W) of differences: entry i adds `value[i]` at row `row[i]` and column `column[i]`."""

    row: np.ndarray
    column: np.ndarray
    value: Floats
    num_rows: int
    num_columns: int

    def times(self, weights: Floats) -> Floats:
        """Return the matrix times weights (W,), (P,)."""
        return np.bincount(self.row, self.value * weights[self.column], self.num_rows).astype(np.float64)

    def transposed_times(self, values: Floats) -> Floats:
        """Return the transposed matrix times values (P,), (W,)."""
        return np.bincount(self.column, self.value * values[self.row], self.num_columns).astype(np.float64)

    def only(self, kept: np.ndarray) -> _Rows:
        """Return the matrix with the rows where `kept` (P,) is true, the others left out."""
        number = np.cumsum(kept) - 1
        entries = kept[self.row]
        row = number[self.row[entries]]
        return _Rows(row, self.column[entries], self.value[entries], int(kept.sum()), self.num_columns)


def fit_bag_of_words(better: Sequence[str], worse: Sequence[str], prompts: Sequence[int]) -> BagOfWords:
    """Fit weights to comparisons by Bradley and Terry, with the penalty on their squares that cross-validation finds best.

    Comparisons of one prompt are in one fold.
    """
    counts = [(words_of(a), words_of(b)) for a, b in zip(better, worse, strict=True)]
    known = Counter(word for a, b in counts for word in a.keys() | b.keys())
    numbers = {word: number for number, (word, _) in enumerate(known.most_common(MOST_WORDS))}
    rows = _differences(counts, numbers)
    order = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    folds = np.asarray([order[prompt] % FOLDS for prompt in prompts])
    losses = {penalty: _validated(rows, folds, penalty) for penalty in PENALTIES}
    penalty = min(losses, key=lambda p: losses[p])
    weights = _fitted(rows, penalty)
    return BagOfWords({word: float(weights[number]) for word, number in numbers.items()}, penalty)


def _differences(counts: Sequence[tuple[Counter[str], Counter[str]]], numbers: Mapping[str, int]) -> _Rows:
    """Build the matrix of what the better answer's words count more than the worse one's."""
    entries = [
        (row, numbers[word], math.log1p(a[word]) - math.log1p(b[word]))
        for row, (a, b) in enumerate(counts)
        for word in sorted(a.keys() | b.keys())
        if word in numbers and a[word] != b[word]
    ]
    row, column, value = (np.asarray(part) for part in zip(*entries, strict=True)) if entries else [np.zeros(0)] * 3
    return _Rows(row.astype(np.int64), column.astype(np.int64), value.astype(np.float64), len(counts), len(numbers))


def _validated(rows: _Rows, folds: np.ndarray, penalty: float) -> float:
    """Return the mean loss of each fold under weights that were fitted to the others."""
    total = 0.0
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and not held.all():
            margins = rows.only(held).times(_fitted(rows.only(~held), penalty))
            total += float(np.logaddexp(0, -margins).sum())
    return total / rows.num_rows


def _fitted(rows: _Rows, penalty: float) -> Floats:
    """Return the minimum of the mean loss and penalty |w|^2 / 2, by accelerated gradients (Nesterov 1983).

    The step is that of the curvature's bound: a quarter of the largest eigenvalue of X'X / P, which a few powers find.
    """
    weights = np.zeros(rows.num_columns)
    if not len(rows.value):
        return weights
    direction = np.ones(rows.num_columns)
    size = 1.0
    for _ in range(20):
        direction = rows.transposed_times(rows.times(direction)) / rows.num_rows
        size = float(np.linalg.norm(direction)) or 1.0
        direction = direction / size
    # a fifth more, as powers come to it from below
    bound = 1.2 * size / 4 + penalty
    rate = (math.sqrt(bound) - math.sqrt(penalty)) / (math.sqrt(bound) + math.sqrt(penalty))
    ahead = weights
    for _ in range(STEPS):
        missed = 1 / (1 + np.exp(rows.times(ahead)))
        gradient = penalty * ahead - rows.transposed_times(missed) / rows.num_rows
        last, weights = weights, ahead - gradient / bound
        ahead = weights + rate * (weights - last)
        if float(np.abs(weights - last).max()) < 1e-6:
            break
    return weights

"""Questions with their answers: read from a file, and found by their likeness to another question."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.data.chat_files import read_records as read_records  # for evaluate too, which sees data only through here
from jielong.errors import DataError
from jielong.use.answers import normal


@dataclass(frozen=True)
class Example:
    """A question and its right answer."""

    question: str
    answer: str


def read_examples(path: str | Path) -> tuple[Example, ...]:
    """Read the examples of a JSONL file, {"question": ..., "answer": ...} a line. Raises DataError, which lists the
    lines that hold none.
    """
    return tuple(read_records(path, _parse_example, "example"))


def _parse_example(data: Mapping[str, Any]) -> Example:
    """Read one example. Raises DataError if a field is no text."""
    for key in ("question", "answer"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise DataError(f"{key!r} is {data.get(key)!r}; expected some text")
    return Example(data["question"], data["answer"])


def nearest(question: str, texts: Sequence[str], k: int) -> list[int]:
    """Return the places of the `k` texts most like the question, the likest first.

    BM25 (Robertson and Zaragoza 2009, k1 1.2, b 0.75) over two and three characters in a row, which needs no word
    borders and so serves every language.
    """
    grams = [_grams(text) for text in texts]
    lengths = [sum(g.values()) for g in grams]
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    scores = [0.0] * len(texts)
    for gram in _grams(question):
        found = [i for i, g in enumerate(grams) if gram in g]
        weight = math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5))
        for i in found:
            count = grams[i][gram]
            scores[i] += weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * lengths[i] / mean))
    return sorted(range(len(texts)), key=lambda i: -scores[i])[:k]


@functools.lru_cache(maxsize=10_000)
def _grams(text: str) -> Counter[str]:
    plain = f" {normal(text)} "
    return Counter(plain[i : i + n] for n in (2, 3) for i in range(len(plain) - n + 1))

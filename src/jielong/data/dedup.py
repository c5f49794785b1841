"""Deduplication: exact copies by a hash of the normalised text, near copies by MinHash and a check of every pair.

Texts arrive one after another, and the first of equal or similar texts is kept. MinHash (rensa) only proposes earlier
texts that may be close; the pair is then compared shingle by shingle, so the sketch decides nothing. A text is dropped
when it is close to one that was *kept*: clusters are stars around their first document, and a chain of small changes
cannot join two texts that differ. The outcome depends on the order of the texts and on nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rensa import RMinHash, RMinHashLSH

from jielong.data.filters import tokens_of
from jielong.errors import ConfigError

_NOT_TEXT = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class DedupConfig:
    """The definition of a copy. `min_similarity` is the Jaccard similarity of the two sets of shingles; 1 or more:
    exact copies only.
    """

    min_similarity: float = 0.7
    shingle_tokens: int = 3
    """Words of a shingle, whose sets are compared."""
    # 20 bands of 6: a pair at similarity 0.7 is proposed with probability 0.92, at 0.8 with 0.998, at 0.4 with 0.08.
    num_perm: int = 120
    num_bands: int = 20
    """Bands of hashes; more find less similar copies, and cost more."""

    def __post_init__(self) -> None:
        if not 0 < self.min_similarity:
            raise ConfigError(
                f"dedup.min_similarity is {self.min_similarity!r}; it must be above 0 (1 or more: exact copies only)"
            )
        if self.shingle_tokens < 1:
            raise ConfigError(f"dedup.shingle_tokens is {self.shingle_tokens!r}; it must be at least 1")
        if self.num_bands < 1 or self.num_perm % self.num_bands:
            raise ConfigError(f"dedup.num_bands is {self.num_bands!r}; it must divide num_perm, {self.num_perm!r}")


def fingerprint(text: str) -> bytes:
    """Hash a text to 16 bytes that depend on its letters and digits alone, not on case, spaces and punctuation."""
    return hashlib.blake2b(_NOT_TEXT.sub("", text).lower().encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str, width: int) -> frozenset[str]:
    """Return the set of runs of `width` tokens in a text; a shorter text is one run."""
    tokens = tokens_of(text)
    if len(tokens) <= width:
        return frozenset((" ".join(tokens),))
    runs = zip(*(tokens[start:] for start in range(width)), strict=False)
    return frozenset(map(" ".join, runs))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the size of the intersection over the size of the union, in [0, 1]; 1 for two empty sets."""
    shared = len(one & other)
    union = len(one) + len(other) - shared
    return shared / union if union else 1.0


class Deduplicator:
    """Remembers the kept texts, and finds the kept text that a new one copies."""

    def __init__(self, config: DedupConfig) -> None:
        self.config = config
        self._exact: dict[bytes, int] = {}
        self._kept: dict[int, frozenset[str]] = {}
        self._index = RMinHashLSH(
            threshold=min(config.min_similarity, 1.0), num_perm=config.num_perm, num_bands=config.num_bands
        )

    def add(self, key: int, text: str) -> tuple[str, int]:
        """Check a text: ("", key) if it is new, and is remembered, else ("exact copy" or "near copy", key of the one
        kept).
        """
        mark = fingerprint(text)
        if mark in self._exact:
            return "exact copy", self._exact[mark]
        if self.config.min_similarity < 1:
            runs = shingles(text, self.config.shingle_tokens)
            sketch = RMinHash.from_token_sets([list(runs)], num_perm=self.config.num_perm, seed=0)[0]
            best = max(((jaccard(runs, self._kept[k]), -k) for k in self._index.query(sketch)), default=(0.0, 0))
            if best[0] >= self.config.min_similarity:
                # Copies of a copy are exact copies too: remember the text under the one that was kept.
                self._exact[mark] = -best[1]
                return "near copy", -best[1]
            self._index.insert(key, sketch)
            self._kept[key] = runs
        self._exact[mark] = key
        return "", key


def clusters(texts: Iterable[str], config: DedupConfig) -> list[int]:
    """Return for each text the position of the kept text that it copies, its own if it is kept."""
    seen = Deduplicator(config)
    return [seen.add(position, text)[1] for position, text in enumerate(texts)]

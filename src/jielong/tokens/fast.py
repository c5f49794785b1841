"""Fast encoding: the merges of a tokenizer.json in `tiktoken`, many documents in one call, on many threads.

The ids equal those of the `tokenizers` library, which is checked, not assumed. `tiktoken` merges the adjacent pair
whose joined bytes are the earliest token; `tokenizers` merges the earliest pair that its list names. The two agree on
every text when ids follow the order of the merges and every token, given as text, becomes itself: a pair that stands
side by side inside a token was made by the same merges as when the token stands alone, so if it may be joined by its
bytes, the list names it too. `merges_are_proper` asks exactly this of the library itself; if it does not hold there is
no fast encoder, only the library.

Documents are joined by a mark that stands for the id that ends a document, so one call without Python's lock encodes
hundreds of them.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

BORDER = "\x00\x1e<|border of documents|>\x1e\x00"
"""Stands between documents that are encoded together; a text that holds it is encoded alone."""

# The regex engine keeps a note for each blank of a run and gives up at a million of them.
LONGEST = 1 << 18

_CHUNK_CHARACTERS = 1 << 18


def merges_are_proper(data: Mapping[str, Any], num_special: int) -> bool:
    """Whether ids after the bytes follow the merges, and each token's own text is encoded as that token.

    `data` is a parsed tokenizer.json of byte-level byte-pair encoding whose first ids are `num_special` special tokens
    and the 256 bytes.
    """
    vocab: Mapping[str, int] = data["model"]["vocab"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in data["model"]["merges"]]
    first = num_special + 256
    if [vocab.get(a + b) for a, b in pairs] != list(range(first, first + len(pairs))) or len(vocab) != first + len(
        pairs
    ):
        return False
    alone = {**data, "pre_tokenizer": None, "added_tokens": [], "post_processor": None}
    tokens = [token for token, id in vocab.items() if id >= num_special]
    encoded = tokenizers.Tokenizer.from_str(json.dumps(alone)).encode_batch_fast(tokens, add_special_tokens=False)
    return all(e.ids == [vocab[token]] for token, e in zip(tokens, encoded, strict=True))


def num_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class FastEncoder:
    """Text to ids without special ones, as uint32. May be used by several threads at once."""

    def __init__(self, ranks: Mapping[bytes, int], pattern: str, end: int) -> None:
        """`ranks`: the id of each token's bytes, in the order of merging. `end`: the id after each document."""
        import tiktoken

        self.end = end
        self._encoding = tiktoken.Encoding(
            "jielong", pat_str=pattern, mergeable_ranks=dict(ranks), special_tokens={BORDER: end}
        )

    def encode(self, text: str) -> list[int] | None:
        """Encode one text. Returns None if a line of it is too long for the engine."""
        if len(text) <= LONGEST:
            return self._encoding.encode_ordinary(text)
        pieces = list(_split_into_lines(text))
        if any(len(piece) > LONGEST for piece in pieces):
            return None
        return [id for piece in pieces for id in self._encoding.encode_ordinary(piece)]

    def encode_joined(self, texts: Sequence[str]) -> NDArray[np.uint32]:
        """Encode all texts into one (N,) array, each followed by `end`. No text holds BORDER or is too long."""
        joined = BORDER.join((*texts, ""))
        return self._encoding.encode_to_numpy(joined, allowed_special={BORDER}, disallowed_special=())

    def can_join(self, text: str) -> bool:
        return len(text) <= LONGEST and BORDER not in text


def _split_into_lines(text: str) -> Iterator[str]:
    """Split a text after newlines, which no token crosses, into pieces of at most LONGEST characters where possible."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > LONGEST:
            newline = text.rfind("\n", start, start + LONGEST)
            if newline < 0:
                newline = text.find("\n", start + LONGEST)
            end = end if newline < 0 else newline + 1
        yield text[start:end]
        start = end


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Group texts into lists of about a quarter of a million characters, at least one in each."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text) + 16
        if size >= _CHUNK_CHARACTERS:
            yield some
            some, size = [], 0
    if some:
        yield some


def in_order(work: Any, items: Iterable[Any], threads: int) -> Iterator[Any]:
    """Yield `work` of each item, in order, from a pool of threads; at most two items a thread are ahead of the reader."""
    if threads <= 1:
        yield from map(work, items)
        return
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

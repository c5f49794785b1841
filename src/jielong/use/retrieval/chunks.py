"""Chunking of documents: whole paragraphs if they fit, never across a heading.

A chunk holds up to so many letters, and as a Chinese character says as much as three of them, it counts as three: both
languages get chunks of about the same content. Neighbours overlap a little, so that a sentence that needs the one
before it is found with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from jielong.config import at_least
from jielong.data.locations import Located
from jielong.errors import ConfigError

_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af]")
_END = re.compile(r"(?<=[。！？；])|(?<=[.!?])[ ]+|\n+")


@dataclass(frozen=True)
class ChunkConfig:
    """Sizes in letters, of which a Chinese character counts three."""

    size: int = 900
    overlap: int = 120

    def __post_init__(self) -> None:
        at_least(self, 30, "size")
        at_least(self, 0, "overlap")
        if 2 * self.overlap > self.size:
            raise ConfigError(f"overlap {self.overlap} of chunks is more than half of their size {self.size}")


@dataclass(frozen=True)
class Chunk:
    """A piece of a document and its place in the source."""

    text: str
    place: str


def width(text: str) -> int:
    """Count letters, a Chinese character as three."""
    return len(text) + 2 * len(_WIDE.findall(text))


def cut_into_chunks(document: Located, config: ChunkConfig = ChunkConfig()) -> Iterator[Chunk]:
    """Yield the chunks of a document in order; an empty one has none."""
    text = document.text
    pieces = list(_pieces(text, config.size))
    sums = list(accumulate((width(text[start:end]) for start, end in pieces), initial=0))
    heads = set() if document.unit else set(document.starts)
    first = 0
    while first < len(pieces):
        last = first + 1
        while last < len(pieces) and sums[last + 1] - sums[first] <= config.size and pieces[last][0] not in heads:
            last += 1
        goes_on = last < len(pieces) and pieces[last][0] not in heads
        if goes_on:  # better at the end of a paragraph, if that does not leave half of the room empty
            borders = (i for i in range(last, first, -1) if 2 * (sums[i] - sums[first]) >= config.size)
            last = next((i for i in borders if "\n\n" in text[pieces[i - 1][1] : pieces[i][0]]), last)
        start, end = pieces[first][0], pieces[last - 1][1]
        yield Chunk(text[start:end], document.place(start, end))
        begin = last
        if goes_on:
            while begin - 1 > first and sums[last] - sums[begin - 1] <= config.overlap:
                begin -= 1
            if sums[last + 1] - sums[begin] > config.size:  # nothing new would fit beside what is repeated
                begin = last
        first = begin


def _pieces(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Yield the borders of sentences and lines; one that is larger than a chunk is cut anywhere."""
    start = 0
    for end, after in [*((m.start(), m.end()) for m in _END.finditer(text)), (len(text), len(text))]:
        while end - start > size or width(text[start:end]) > size:
            room = size // 3  # letters that fit even if all of them are wide
            yield start, start + room
            start += room
        if text[start:end].strip():
            yield start, end
        start = after

"""Search results: passages with the place they come from.

A library on disk, crawled pages and a search engine on the net all answer `search`. The text of a passage is data: it
is shown to a model as a quotation and never as an instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Passage:
    """A piece of a document: its words, the file or address, the place in it ("page 3", "lines 10-24", a heading).

    `score` is the searcher's own measure of how well the passage fits the query; higher is better.
    """

    text: str
    source: str
    place: str = ""
    score: float = 0.0

    @property
    def where(self) -> str:
        """Return source and place for a person."""
        return f"{self.source}, {self.place}" if self.place else self.source


class Searches(Protocol):
    """The protocol of a search: passages for a query, best first."""

    async def search(self, query: str, k: int = 5) -> Sequence[Passage]: ...

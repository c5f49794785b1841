"""Search as a tool: over a user's library, over crawled pages, or through a search engine.

Every searcher is a `Searches`, which answers with passages and their places. Here are two: the documents of a run in a
small index in memory, and any server that speaks SearXNG's protocol. The library of a user's files is opened elsewhere
and handed in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx2

from jielong.errors import DataError, ResourceError
from jielong.outside import read_lines, shorten_value
from jielong.records import Document
from jielong.use.retrieval.passages import Passage, Searches
from jielong.use.retrieval.terms import terms
from jielong.use.tools.tool import Arguments, Tool

_CHARS = 800


def search_tool(searches: Searches, name: str, over: str, k: int = 5) -> Tool:
    """Make a tool that searches `over` something, in a few words such as "the user's own files"."""

    async def run(arguments: Arguments) -> str:
        """Search and format the passages."""
        found = await searches.search(arguments["query"], k)
        if not found:
            return "nothing was found"
        return "\n\n".join(
            f"[{i}] {', '.join(filter(None, (p.source, p.place)))}\n{p.text}" for i, p in enumerate(found, 1)
        )

    return Tool(
        name,
        f"Searches {over} and gives passages with their sources. 检索并给出原文与出处。",
        {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        run,
    )


class Pages:
    """Documents, such as those of a run's refine stage, searchable by their words (BM25 of SQLite's FTS5, in memory).

    Chinese is found by pairs of characters, as FTS5 knows no Chinese words. Long documents are cut between paragraphs.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self._index = sqlite3.connect(":memory:")
        self._index.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(words, text UNINDEXED, source UNINDEXED, place UNINDEXED)"
        )
        rows = (
            (" ".join(terms(text)), text, document.source or document.id, f"passage {number}")
            for document in documents
            for number, text in enumerate(_cut_text(document.text), 1)
        )
        self._index.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", rows)

    @classmethod
    def read(cls, path: Path) -> Pages:
        """Index a documents.jsonl. Raises DataError if a line is no document."""
        return cls(_documents(path))

    def close(self) -> None:
        self._index.close()

    async def search(self, query: str, k: int = 5) -> Sequence[Passage]:
        """Return the best passages by their words."""
        wanted = " OR ".join(f'"{term}"' for term in dict.fromkeys(terms(query)))
        if not wanted:
            return []
        rows = self._index.execute(
            "SELECT text, source, place FROM passages WHERE words MATCH ? ORDER BY rank LIMIT ?", (wanted, k)
        )
        return [Passage(*row) for row in rows]


def _documents(path: Path) -> Iterable[Document]:
    """Yield the documents of a file. Raises DataError, which names a line that is none."""
    for line in read_lines(path):
        try:
            if line.problem or not isinstance(line.data, dict) or not isinstance(line.data.get("text"), str):
                raise DataError(line.problem or f"it is {shorten_value(line.data)}")
            yield Document.from_dict(line.data)
        except DataError as error:
            raise DataError(f"{path}:{line.number} is no document ({error}); expected {{'text': ...}}") from error


def _cut_text(text: str) -> list[str]:
    """Cut the text into pieces of about 800 characters, between lines."""
    pieces = [""]
    for line in text.splitlines():
        if pieces[-1] and len(pieces[-1]) + len(line) > _CHARS:
            pieces.append("")
        pieces[-1] += line + "\n"
    return [piece.strip() for piece in pieces if piece.strip()]


class SearXNG:
    """A search engine that speaks SearXNG's protocol at `url`; it must allow format=json (`search.formats` of its settings)."""

    def __init__(self, url: str, timeout_s: float = 20.0) -> None:
        self.url, self._timeout_s = url.rstrip("/"), timeout_s

    async def search(self, query: str, k: int = 5) -> Sequence[Passage]:
        """Return the engine's results. Raises ResourceError if it cannot be reached or refuses."""
        async with httpx2.AsyncClient(timeout=self._timeout_s) as client:
            try:
                response = await client.get(f"{self.url}/search", params={"q": query, "format": "json"})
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise ResourceError(f"{self.url} cannot be reached ({type(error).__name__}: {error})") from error
        if response.status_code != 200:
            hint = "; allow json in its search.formats" if response.status_code == 403 else ""
            raise ResourceError(f"{self.url}/search answered {response.status_code}{hint}")
        try:
            results = response.json()["results"]
            return [
                Passage(f"{r.get('title') or ''}\n{r.get('content') or ''}".strip(), str(r["url"])) for r in results[:k]
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self.url}/search did not answer with results in JSON ({error!r})") from error

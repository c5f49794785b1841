"""Locations in the source of an extracted text: page of a PDF, row of a table, line of text or code, heading of the
rest.

Extraction changes the text but keeps its order. In text and code the non-empty lines of both correspond one to one, and
headings are found again by their words.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from resiliparse.parse.html import HTMLTree

from jielong.data.extract import PAGE_BORDER, READ, is_pdf, source_of
from jielong.data.markdown import heading_words, markdown_text
from jielong.data.office import csv_lines
from jielong.data.pdf import pdf_pages
from jielong.data.sources import PageLike
from jielong.data.tidying import code_text, tidy


@dataclass(frozen=True)
class Located:
    """A text, and the locations that begin at increasing offsets in it; `unit` is "page", "row", "line", or "" for
    headings.

    `remark` names parts of the source that the text lacks, and why.
    """

    text: str
    unit: str
    starts: tuple[int, ...]
    names: tuple[str, ...]
    remark: str = ""

    def place(self, start: int, end: int) -> str:
        """Return the location of the characters from `start` to `end`: "page 3", "lines 10-24", a heading, or "" if
        unknown.
        """
        first = bisect_right(self.starts, start) - 1
        if first < 0:
            return ""
        if not self.unit:
            return self.names[first]
        last = max(first, bisect_right(self.starts, end - 1) - 1)
        if self.names[first] == self.names[last]:
            return f"{self.unit} {self.names[first]}"
        return f"{self.unit}s {self.names[first]}-{self.names[last]}"


def locate(page: PageLike) -> Located:
    """Extract a page's text with its locations; raises as `extract` does."""
    if is_pdf(page):
        found = pdf_pages(page.body)
        pages = [(text, str(number)) for number, text in enumerate(found, start=1) if text]
        num_empty = len(found) - len(pages)
        offsets = accumulate((len(text) + len(PAGE_BORDER) for text, _ in pages), initial=0)
        return Located(
            PAGE_BORDER.join(text for text, _ in pages),
            "page",
            tuple(offsets)[: len(pages)],
            tuple(n for _, n in pages),
            f"{num_empty:,} of {len(found):,} pages hold no text; perhaps they were scanned" if num_empty else "",
        )
    kind, source, _ = source_of(page)
    text = READ[kind](source)
    if kind == "html":
        return _by_headings(text, _html_headings(source))
    if kind == "markdown":
        return _by_headings(text, _markdown_headings(source))
    if kind in ("json", "xlsx"):  # what stands in them has no lines that a person would look for
        return Located(text, "", (), ())
    if kind == "csv":
        numbers = [str(number) for number, line in csv_lines(source) if tidy(line)]
        return Located(text, "row", tuple(start for start, _ in _lines(text)), tuple(numbers))
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    pieces = ((number, piece) for number, line in enumerate(lines, start=1) for piece in code_text(line).split("\n"))
    numbers = [str(number) for number, piece in pieces if tidy(piece)]
    starts = [start for start, _ in _lines(text)]
    assert len(starts) == len(numbers), (page.uri, len(starts), len(numbers))
    return Located(text, "line", tuple(starts), tuple(numbers))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield offset and words of each line that is not empty."""
    start = 0
    for line in text.split("\n"):
        if line.strip():
            yield start, line.strip()
        start += len(line) + 1


def _by_headings(text: str, headings: Sequence[str]) -> Located:
    """Locate each heading in a text, in their order; missing headings are skipped."""
    found: list[tuple[int, str]] = []
    places: dict[str, list[int]] = {}
    for place, heading in enumerate(headings):
        places.setdefault(heading, []).append(place)
    last = -1
    for start, line in _lines(text):
        where = places.get(line, [])
        following = bisect_right(where, last)
        if following < len(where):
            last = where[following]
            found.append((start, line))
    return Located(text, "", tuple(start for start, _ in found), tuple(heading for _, heading in found))


def _html_headings(html: str) -> list[str]:
    body = HTMLTree.parse(html).body
    found = body.query_selector_all("h1, h2, h3, h4, h5, h6")[:] if body else []
    return [tidy(" ".join((element.text or "").split())) for element in found]


_FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]++(.*)$|^(?=\S)(.+)\n {0,3}(?:=+|-{3,})[ \t]*$", re.M)


def _markdown_headings(text: str) -> list[str]:
    text = _FENCED.sub("", text.replace("\r\n", "\n"))
    return [markdown_text(heading_words(match[1] or "") or match[2] or "").strip() for match in _HEADING.finditer(text)]

"""The blocks to keep: those with which the expected F1 of the text, word by word, is highest; and their light Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jielong.data.content.forest import load
from jielong.data.content.measures import Floats, Measured
from jielong.data.content.page import Page, read_page

LONG_TERM = 40
"""A <dt> of more letters stands above its <dd>, a shorter one before it."""


@dataclass(frozen=True)
class Content:
    """The main content as light Markdown, and its confidence: the F1 that is expected of it, from 0 to 1."""

    text: str
    confidence: float


def main_content(html: str) -> Content:
    """Find the main content of a page; "" with confidence 0 where it has no text."""
    page = read_page(html)
    if not page.blocks:
        return Content("", 0.0)
    measured = Measured(page)
    kept, confidence = best_blocks(load().probabilities(measured.matrix), measured.words)
    return Content(markdown(page, np.flatnonzero(kept).tolist()), confidence)


def best_blocks(probabilities: Floats, words: Floats) -> tuple[NDArray[np.bool_], float]:
    """Choose the blocks with the highest expected F1 = 2 E[right] / (kept + E[all content]), counted in words; return
    which are kept (N,), and that F1.

    With probabilities taken as independent the best choice holds the most likely blocks, so only N of them are tried.
    """
    order = np.argsort(-probabilities, kind="stable")
    right, kept = np.cumsum((probabilities * words)[order]), np.cumsum(words[order])
    expected = 2 * right / np.maximum(kept + right[-1], 1e-9)
    best = int(expected.argmax())
    chosen = np.zeros(len(words), dtype=bool)
    chosen[order[: best + 1]] = True
    return chosen, float(expected[best])


def markdown(page: Page, numbers: Sequence[int]) -> str:
    """Return blocks as light Markdown: headings, list items, rows of tables, code with its indentation, paragraphs."""
    pieces: list[str] = []
    before: _Setting | None = None
    for number in numbers:
        block, here = page.blocks[number], _Setting.of(page, page.blocks[number].element)
        if before is not None and here.continues(before):
            pieces.append(" | " if here.row >= 0 else " " if len(pieces[-1]) <= LONG_TERM else "\n")
        elif pieces:
            pieces.append("\n" if before is not None and here.is_near(before) else "\n\n")
        pieces.append(here.marked(block.text, is_first=before is None or here.item != before.item))
        before = here
    return "".join(pieces)


@dataclass(frozen=True)
class _Setting:
    """The elements around a block that decide how it is written; -1 where there is none."""

    element: int
    tag: str
    level: int
    """Of a heading, 1 to 6, else 0."""
    item: int
    row: int
    container: int
    """The list, table or list of terms."""
    is_code: bool

    @classmethod
    def of(cls, page: Page, element: int) -> _Setting:
        level, item, row, container, is_code = 0, -1, -1, -1, False
        for at in _upwards(page, element):
            tag = page.elements[at].tag
            if tag in ("h1", "h2", "h3", "h4", "h5", "h6") and not level:
                level = int(tag[1])
            elif tag == "li" and item < 0:
                item = at
            elif tag == "tr" and row < 0:
                row = at
            elif tag in ("ul", "ol", "table", "dl"):
                container = at
                break
            is_code = is_code or tag == "pre"
        return cls(element, page.elements[element].tag, level, item, row, container, is_code)

    def continues(self, before: _Setting) -> bool:
        """Whether this block belongs into the line of the one before: cells of a row, a value after its term."""
        if self.row >= 0:
            return self.row == before.row
        return self.tag == "dd" and before.tag == "dt" and self.container == before.container

    def is_near(self, before: _Setting) -> bool:
        """Whether this block stands in the next line, without an empty one between."""
        return self.container >= 0 and self.container == before.container

    def marked(self, text: str, *, is_first: bool) -> str:
        """Return the text with its Markdown."""
        if self.is_code:
            return f"```\n{text}\n```" if "\n" in text else text
        if self.row >= 0:
            return text.replace("\n", " ")
        if self.level:
            return f"{'#' * self.level} {' '.join(text.split())}"
        return f"- {text}" if self.item >= 0 and is_first else text


def _upwards(page: Page, element: int) -> Iterator[int]:
    while element >= 0:
        yield element
        element = page.elements[element].parent

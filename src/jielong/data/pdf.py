"""The text of a PDF, page by page: lines and columns are reconstructed from the position of each character.

A PDF holds characters with their positions and no more. pypdfium2 gives them in the order in which they were drawn,
with the blanks between words; its lines are wrong where cells stand far apart or where text is turned. So a line is
made here of the characters that follow each other on one baseline, and lines that were drawn straight across two
columns of running text are read one column after the other.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jielong.data.tidying import tidy
from jielong.errors import ConfigError, DataError

_LATEST_MARK = 1024
"""Where readers look for the mark of a PDF: some have a few lines of something else before it."""
_CELL_GAP = 1.2
"""A gap of so many heights of the letters parts two cells of a table, or two columns."""
_WORD_GAP = 0.3
"""A gap between words of turned text, which pdfium leaves without blanks."""
_SAME_LINE = 0.5
"""Letters stand on one line that share so much of the lower one's height: the 2 of a square, but not the next line."""
_COLUMN_LINES, _COLUMN_WORDS, _COLUMN_LETTERS, _COLUMN_HAN = 3, 3, 14, 8
"""Columns of running text are so many lines high, with so many words and letters in each; a table's cells have fewer."""
_INDENT = 2.5
_HYPHENS = "\ufffe\x02\xad"
_HYPHEN = "\xad"
"""How a hyphen is noted that ends a line in the middle of a word."""


def pdf_pages(body: bytes) -> list[str]:
    """Return the text of each page of a PDF, or "" if a page has none (a scan).

    Raises DataError for a damaged or encrypted PDF, and ConfigError if pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError:
        raise ConfigError("reading PDF files needs pypdfium2; pip install 'jielong[library]'") from None
    if b"%PDF-" not in body[:_LATEST_MARK]:
        raise DataError(f"it is no PDF; it begins with {body[:20]!r}" if body else "it is empty")
    try:
        document = pypdfium2.PdfDocument(body)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise DataError("the PDF is encrypted; save a copy without its password") from None
        raise DataError(f"the PDF is damaged: {error}") from None
    try:
        return _join_hyphens([_page(document, number) for number in range(len(document))])
    finally:
        document.close()


@dataclass
class _Cell:
    """A run of text without a wide gap, from `start` to `end` along a line at `across`; lengths in points, rotation
    `turn` in degrees.
    """

    turn: int
    across: float
    start: float
    end: float
    height: float
    letters: list[str]

    @property
    def text(self) -> str:
        return "".join(self.letters)

    def is_beside(self, turn: int, across: float, height: float) -> bool:
        overlap = min(self.across + self.height, across + height) - max(self.across, across)
        return self.turn == turn and overlap > _SAME_LINE * min(self.height, height)


def _page(document: Any, number: int) -> str:
    """Read the text of one page. Raises DataError if it is damaged."""
    try:
        page = document[number]
        page.set_rotation(0)  # a page that is only shown turned is read as it was written
        return "\n".join(_text_lines(_rows(_cells(page.get_textpage(), page.get_bbox()))))
    except Exception as error:  # one bad page of a book: pypdfium2 has its own errors, and some of ctypes
        raise DataError(f"page {number + 1} of the PDF is damaged: {error}") from error


def _cells(text: Any, page_box: tuple[float, float, float, float]) -> Iterator[_Cell]:
    """Yield the cells of a page in the order in which they were drawn, without text outside the page."""
    from pypdfium2 import raw

    box, (left, bottom, right, top) = raw.FS_RECTF(), page_box
    cell, is_apart = None, False
    for i in range(raw.FPDFText_CountChars(text)):
        letter = chr(raw.FPDFText_GetUnicode(text, i))
        if letter.isspace():  # pdfium's own line breaks are among them
            is_apart = True
            continue
        raw.FPDFText_GetLooseCharBox(text, i, box)
        if not (box.right > left and box.left < right and box.top > bottom and box.bottom < top):
            continue
        turn = -round(math.degrees(raw.FPDFText_GetCharAngle(text, i))) % 360
        start, end, across, height = _to_upright(turn, box.left, box.right, box.bottom, box.top)
        letter = _HYPHEN if letter in _HYPHENS else letter
        if cell and cell.is_beside(turn, across, height):
            gap = (start - cell.end) / max(cell.height, 0.1)
            # text that runs to the left is given as it is read
            if -1 < gap < _CELL_GAP or _is_from_the_right(letter) or _is_from_the_right(cell.letters[-1]):
                cell.letters += [" ", letter] if is_apart or (turn and gap > _WORD_GAP) else [letter]
                cell.end, is_apart = end, False
                continue
        if cell:
            yield cell
        cell, is_apart = _Cell(turn, across, start, end, height, [letter]), False
    if cell:
        yield cell


def _is_from_the_right(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in ("R", "AL")


def _to_upright(turn: int, left: float, right: float, bottom: float, top: float) -> tuple[float, float, float, float]:
    """Rotate a letter's box to upright text: start, end, foot and height."""
    if turn == 0:
        return left, right, bottom, top - bottom
    if turn == 90:
        return bottom, top, -right, right - left
    if turn == 180:
        return -right, -left, -top, top - bottom
    if turn == 270:
        return -top, -bottom, left, right - left
    # the box of a slanted letter says little; its middle does
    x, y, half = (left + right) / 2, (bottom + top) / 2, min(right - left, top - bottom) / 2
    sin, cos = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    along, across = x * cos + y * sin, y * cos - x * sin
    return along - half, along + half, across - half, 2 * half


def _rows(cells: Iterable[_Cell]) -> list[list[_Cell]]:
    """Group cells that were drawn one after the other on one line, from left to right."""
    rows: list[list[_Cell]] = []
    for cell in cells:
        last = rows[-1][-1] if rows else None
        if last and cell.start > last.end and last.is_beside(cell.turn, cell.across, cell.height):
            rows[-1].append(cell)
        else:
            rows.append([cell])
    return [row for turn, same in groupby(rows, key=lambda row: row[0].turn) for row in _from_above(turn, list(same))]


def _from_above(turn: int, rows: list[list[_Cell]]) -> list[list[_Cell]]:
    """Order rows of turned text from the first to the last, which pdfium may give reversed."""
    feet = [row[0].across for row in rows]
    return rows[::-1] if turn and feet == sorted(feet) else rows


def _text_lines(rows: Sequence[list[_Cell]]) -> Iterator[str]:
    """Yield the lines of text of a page; columns of running text come one after the other."""
    at = 0
    while at < len(rows):
        columns, num_rows = _columns(rows[at:])
        if columns:
            for column in columns:
                yield from (cell.text for cell in column)
        else:
            num_rows = 1
            yield " ".join(cell.text for cell in rows[at])
        at += num_rows


def _columns(rows: Sequence[list[_Cell]]) -> tuple[list[list[_Cell]], int]:
    """Return the columns of running text at the top of these rows, and the number of rows they cover; no columns if the
    text is not running text.
    """
    starts = [cell.start for cell in rows[0]]
    columns: list[list[_Cell]] = [[] for _ in starts]
    num_rows = num_full = 0
    if len(starts) < 2:
        return [], 0
    for row in rows:
        nearest = [min(range(len(starts)), key=lambda k: abs(starts[k] - cell.start)) for cell in row]
        is_in_line = all(
            abs(starts[k] - c.start) < _INDENT * c.height and c.turn == rows[0][0].turn
            for k, c in zip(nearest, row, strict=True)
        )
        if not is_in_line or len(set(nearest)) < len(nearest):
            break
        for k, cell in zip(nearest, row, strict=True):
            columns[k].append(cell)
        num_rows, num_full = num_rows + 1, num_full + (len(row) > 1)
    is_text = num_full >= _COLUMN_LINES and all(_is_running_text(column) for column in columns)
    return (columns, num_rows) if is_text else ([], 0)


def _is_running_text(column: Sequence[_Cell]) -> bool:
    """Whether a column holds running text, by its words and letters per line."""
    words = sum(len(cell.text.split()) for cell in column) / len(column)
    letters = sum(len(cell.text) for cell in column) / len(column)
    num_han = sum("\u4e00" <= letter <= "\u9fff" for cell in column for letter in cell.text)
    if num_han > letters * len(column) / 2:
        return letters >= _COLUMN_HAN
    return letters >= _COLUMN_LETTERS and words >= _COLUMN_WORDS


# a word is looked at from its beginning alone: from each of its letters anew, a line of Chinese would cost its square
_BROKEN = re.compile(rf"(?:(?<![\w-])(-*+)(\w[\w-]*+))?+{_HYPHEN}\n?((?:\w[\w-]*)?)")
_ALWAYS_HYPHENATED = {"well", "self", "ex", "all", "so"}


def _join_hyphens(pages: Sequence[str]) -> list[str]:
    """Join words that were broken at the end of a line.

    The hyphen is kept if the word owns it, as in "well-known": the document has the hyphenated word within a line, or
    the word has another hyphen.
    """
    known = set(re.findall(r"\w[\w-]*\w", " ".join(pages).lower()))

    def join(broken: re.Match[str]) -> str:
        """Join one broken word, keeping a hyphen that is its own."""
        before, head, tail = broken[1] or "", broken[2] or "", broken[3]
        joined, hyphenated = (head + tail).lower(), f"{head}-{tail}".lower()
        keeps = bool(head and tail) and joined not in known
        keeps = keeps and (hyphenated in known or "-" in joined or head.lower() in _ALWAYS_HYPHENATED)
        return before + (f"{head}-{tail}" if keeps or not tail else head + tail)

    return [tidy(_BROKEN.sub(join, page)) for page in pages]

"""Pages are read within limits: who exceeds one is told, the others are read, and time grows with the text alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from jielong.data import bounded
from jielong.data.bounded import MAX_PAGE_BYTES, extract_all, locate_bounded
from jielong.data.extract import Extracted, extract, html_text
from jielong.data.locations import locate
from jielong.data.markdown import markdown_text
from jielong.data.pdf import _join_hyphens
from jielong.data.refine import cut_text, refine
from jielong.data.sources import Page
from jielong.errors import DataError, LimitError
from jielong.outside import parse_json

PAGES = [
    Page("a.html", b"<html><body><h1>Tea</h1><p>Green tea wants eighty degrees.</p></body></html>"),
    Page("b.md", b"# Tea\n\n**Black** tea wants [more](http://tea.example).", "text/markdown"),
    Page("c.txt", "\u4e2d\u6587 gb".encode("gb18030"), "text/plain"),
    Page("d.py", b"def tea():\n    return 95\n", "text/x-code"),
    Page("e.csv", b"tea,degrees\ngreen,80\nblack,95\n", "text/csv"),
]


def test_pages_read_in_the_worker_are_those_read_here_with_their_places() -> None:
    assert [found for _, found in extract_all(PAGES)] == [extract(page) for page in PAGES]
    assert [locate_bounded(page) for page in PAGES] == [locate(page) for page in PAGES]


def test_a_page_that_cannot_be_read_stands_where_it_stood() -> None:
    odd = [
        Page("missing.txt", b"", error="there is no such file"),
        Page("broken.pdf", b"%PDF-1.7 nothing", "application/pdf"),
        Page("huge.html", b"<p>x" * (MAX_PAGE_BYTES // 4 + 1)),
    ]
    mixed = [PAGES[0], odd[0], PAGES[1], odd[1], odd[2], *PAGES]
    found = [(page.uri, type(got)) for page, got in extract_all(iter(mixed))]
    kinds = [Extracted, DataError, Extracted, DataError, LimitError, *[Extracted] * len(PAGES)]
    assert found == [(page.uri, kind) for page, kind in zip(mixed, kinds, strict=True)]
    _, report = refine(mixed)
    assert report.dropped["unreadable"] == 2 and report.dropped["too large"] == 1
    with pytest.raises(LimitError, match="67,108,868 bytes; at most 67,108,864"):
        locate_bounded(odd[2])


def test_large_files_get_more_seconds_than_pages() -> None:
    assert bounded.limit_s(b"<p>" * 1000) == pytest.approx(10, abs=0.01)
    assert bounded.limit_s(bytes(30_000_000)) == 40
    assert bounded.limit_s(b"%PDF-" + bytes(2_000_000)) == pytest.approx(50, abs=0.1)
    assert bounded.limit_s(b"PK\x03\x04" + bytes(90_000_000)) == 120


def work_s(read: Callable[[str], object], text: str) -> float:
    times = []
    for _ in range(3):
        start_s = time.process_time()
        with contextlib.suppress(DataError):
            read(text)
        times.append(time.process_time() - start_s)
    return min(times)


def hyphens(text: str) -> object:
    return _join_hyphens([text])


def pieces(text: str) -> object:
    return cut_text(text, 200)


@pytest.mark.parametrize(
    ("read", "begin", "again", "end"),
    [
        *((markdown_text, "", mark, "x") for mark in ("[", "![", "[a](", "[a][", "<!--", "**a ", "__a", "<http:", "`a", "[a\n")),
        (markdown_text, "# a", " ", "b"),
        (markdown_text, "[a]: ", ".", " x"),
        (markdown_text, "[a]: x.", "\n", "x"),
        (html_text, "<html>", "<dt ", ""),
        (lambda text: extract(Page("a", text.encode(), "text/plain")), "", "<!---->", "x"),
        (hyphens, "", "a", ""),
        (hyphens, "", "\u6f22", "\xad"),
        (hyphens, "", "-", "\xad"),
        (pieces, "", "word ", ""),
        (parse_json, "{" * 101 + '"', '\\"', ""),
    ],
)  # fmt: skip
def test_what_is_repeated_costs_what_it_is_long(
    read: Callable[[str], object], begin: str, again: str, end: str
) -> None:
    short, long = (begin + again * (size // len(again)) + end for size in (10_000, 160_000))
    # sixteen times as long; the square would be 256 times as dear
    assert work_s(read, long) < 60 * work_s(read, short) + 0.2

"""Pages and documents read in a process that can be killed, so that one hostile page costs seconds and never the run.

Parsers of HTML, PDF, Word and archives are other people's programs, and some input keeps them busy for hours or fills
any memory. Each page is read within limits here; one that exceeds them is a LimitError with its reason, and the others
go on. Our own code then works on the text, in linear time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from jielong.data.extract import Extracted, Extractor, extract
from jielong.data.locations import Located, locate
from jielong.data.sources import Page, PageLike
from jielong.errors import DataError, JielongError, LimitError
from jielong.outside.worker import Worker

LIMIT_S, MAX_LIMIT_S = 10.0, 120.0
BYTES_A_SECOND, PACKED_BYTES_A_SECOND = 1_000_000, 50_000
"""Large files get a second more for so many bytes: twice what honest ones need, such as a table of 30 MB. PDFs, Word documents and
the like are packed, and a book of a thousand pages takes little room."""
MEMORY_BYTES = 2 * 2**30
MAX_PAGE_BYTES = 64 * 2**20
"""Of text and HTML, which takes twenty times its bytes in memory. Archives and PDFs hold pictures, and may be larger."""
MAX_TEXT_CHARS = 64 * 2**20
"""Of what a small archive unpacks to."""

_DOCUMENTS = (b"PK\x03\x04", b"%PDF-")


def limit_s(body: bytes, *_: Any) -> float:
    """Return a page's limit of CPU time in seconds."""
    pace = PACKED_BYTES_A_SECOND if body.startswith(_DOCUMENTS) else BYTES_A_SECOND
    return min(MAX_LIMIT_S, LIMIT_S + len(body) / pace)


def extract_all(
    pages: Iterable[PageLike], extractor: Extractor = "rules"
) -> Iterator[tuple[PageLike, Extracted | DataError]]:
    """Yield each page in order with the result of `extract`, or the error in place of it."""
    waiting = deque[PageLike]()

    def calls() -> Iterator[tuple[Any, ...]]:
        for page in pages:
            waiting.append(page)
            yield (*_arguments_for(page), extractor)

    for found in _TEXTS.each(calls()):
        if isinstance(found, JielongError) and not isinstance(found, DataError):
            raise found
        yield waiting.popleft(), found if isinstance(found, DataError) else Extracted(*found)


def locate_bounded(page: PageLike) -> Located:
    """Call `locate` in the bounded process; LimitError, a DataError, where the page exceeds a limit."""
    text, unit, starts, names, remark = _PLACES.call(*_arguments_for(page))
    return Located(text, unit, tuple(starts), tuple(names), remark)


def _arguments_for(page: PageLike) -> tuple[bytes, str, str, str]:
    """Return the worker's arguments for a page: its bytes, or why it must not be read, and the name of the limit, if it
    exceeds one.
    """
    problem, reason, size = getattr(page, "error", ""), "", len(page.body)
    if not problem and size > MAX_PAGE_BYTES and not page.body.startswith(_DOCUMENTS):
        problem = f"it holds {size:,} bytes; at most {MAX_PAGE_BYTES:,} of a page are read: cut it into several files"
        reason = "too large"
    return b"" if problem else page.body, page.content_type, problem, reason


# In the worker --------------------------------------------------------------------------------------------------------


def read_text(body: bytes, content_type: str, problem: str, reason: str, extractor: Extractor) -> list[Any]:
    """Extract a page inside the worker; returns the fields of `Extracted`."""
    found = extract(_page(body, content_type, problem, reason), extractor)
    _check_length(found.text)
    return [found.text, found.encoding, found.num_empty_pages]


def read_places(body: bytes, content_type: str, problem: str, reason: str) -> list[Any]:
    """Locate a page inside the worker; returns the fields of `Located`."""
    found = locate(_page(body, content_type, problem, reason))
    _check_length(found.text)
    return [found.text, found.unit, found.starts, found.names, found.remark]


def _page(body: bytes, content_type: str, problem: str, reason: str) -> Page:
    if problem:
        raise LimitError(problem, reason) if reason else DataError(problem)
    return Page("", body, content_type)


def _check_length(text: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise LimitError(f"it unpacks to {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are read", "too large")


_TEXTS = Worker("jielong.data.bounded:read_text", limit_s=limit_s, memory_bytes=MEMORY_BYTES)
_PLACES = Worker("jielong.data.bounded:read_places", limit_s=limit_s, memory_bytes=MEMORY_BYTES)

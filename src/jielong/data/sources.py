"""Where raw input comes from: pages in a folder or in memory.

A `Page` is bytes with an address and a declared type, nothing decided yet. `read_pages` walks a folder; a file that cannot
be read becomes a page that carries the error, so that one bad file is counted and never ends the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jielong.errors import DataError

CODE = (
    ".c .cc .cpp .cs .go .h .hpp .java .jl .js .kt .lua .php .pl .py .r .rb .rs .scala .sh .sql .swift .ts .tsx".split()
)
CONTENT_TYPES = {
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".rst": "text/plain",
    ".pdf": "application/pdf",
    **dict.fromkeys(CODE, "text/x-code"),
}
MAX_FILE_BYTES = 256 * 2**20
"""A larger file is no page that somebody wrote."""


class PageLike(Protocol):
    """What refining asks of a page: its address, its bytes and its declared type."""

    @property
    def uri(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...


@dataclass(frozen=True)
class Page:
    """Raw bytes from one address. `content_type` as in HTTP, "text/html; charset=gbk"; `error` says why `body` is empty."""

    uri: str
    body: bytes
    content_type: str = "text/html"
    error: str = ""


def document_id(uri: str, ordinal: int = 0) -> str:
    """32 hex digits: blake2b-128 of the address and the place of the document within it."""
    return hashlib.blake2b(f"{uri}\n{ordinal}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def list_pages(folder: str | Path) -> list[Path]:
    """The files of a folder, at any depth, that can be pages, sorted by path.

    Raises DataError when the folder is missing, is not a folder or holds no such file.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"there is no folder {str(root)!r}; name a folder of HTML, Markdown, PDF, text or code")
    if not root.is_dir():
        raise DataError(f"{str(root)!r} is a file; name the folder that holds it")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in CONTENT_TYPES and not p.is_dir())
    if not paths:
        raise DataError(
            f"the folder {str(root)!r} holds no page; expected files that end in {', '.join(CONTENT_TYPES)}"
        )
    return paths


def read_pages(folder: str | Path) -> Iterator[Page]:
    """Every page of a folder in the order of `list_pages`; a page's address is its path relative to the folder.

    Raises DataError as `list_pages` does, at the first page. A file that cannot be read is yielded with `error` set.
    """
    root = Path(folder)
    for path in list_pages(root):
        yield read_page(path, path.relative_to(root).as_posix())


def read_page(path: Path, uri: str) -> Page:
    """The page in a file, its type told by the file's ending; `error` is set where it cannot be read or is too large."""
    content_type = CONTENT_TYPES.get(path.suffix.lower(), "text/plain")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            return Page(uri, b"", content_type, error=f"{path}: {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return Page(uri, path.read_bytes(), content_type)
    except OSError as error:
        return Page(uri, b"", content_type, error=f"{path}: {error.strerror or error}")

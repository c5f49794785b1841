"""Raw input: pages from a folder or from memory.

A `Page` is raw bytes with an address and a declared type. `read_pages` walks a folder; a file that cannot be read
becomes a page that carries the error, so that one bad file is counted and never ends the run.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from jielong.data.office import json_texts
from jielong.errors import DataError
from jielong.outside import decode

CODE = (
    ".c .cc .cpp .cs .go .h .hpp .java .jl .js .kt .lua .php .pl .py .r .rb .rs .scala .sh .sql .swift .ts .tsx".split()
)
JSON_LINES = "application/jsonl"
CONTENT_TYPES = {
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".rst": "text/plain",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".epub": "application/epub+zip",
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".json": "application/json",
    ".jsonl": JSON_LINES,
    **dict.fromkeys((".yaml", ".yml", ".toml", ".ini", ".cfg"), "text/x-code"),
    **dict.fromkeys(CODE, "text/x-code"),
}
MAX_FILE_BYTES = 256 * 2**20
"""A larger file is no page that somebody wrote."""


class PageLike(Protocol):
    """The protocol of a page for the refinery: its address, its bytes and its declared type."""

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
    """Return 32 hex digits: blake2b-128 of the address and the place of the document within it."""
    return hashlib.blake2b(f"{uri}\n{ordinal}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


SKIPPED_FOLDERS = {"node_modules", "__pycache__", "venv", "site-packages", "target", "dist", "build"}
"""What programs fill and nobody has written; hidden folders are skipped as well."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder that can be pages, sorted by path, and the number of skipped things by kind."""

    paths: list[Path]
    skipped: Counter[str]

    def __str__(self) -> str:
        passed = ", ".join(f"{count:,} {kind}" for kind, count in self.skipped.most_common())
        return f"{len(self.paths):,} files to read" + (f"; passed over: {passed}" if passed else "")


def list_folder(folder: str | Path) -> Listing:
    """List the files at any depth of a folder that can be pages. Links to folders are not followed; nothing is opened.

    Raises DataError if the path is missing or no folder.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"there is no folder {str(root)!r}; name a folder of documents, text or code")
    if not root.is_dir():
        raise DataError(f"{str(root)!r} is a file; name the folder that holds it")
    paths: list[Path] = []
    skipped: Counter[str] = Counter()

    def unreadable(error: OSError) -> None:
        skipped["folders that cannot be read"] += 1

    for place, folders, files in os.walk(root, onerror=unreadable):
        kept = [name for name in folders if not name.startswith(".") and name not in SKIPPED_FOLDERS]
        if len(kept) < len(folders):
            skipped["folders that are hidden or made by programs"] += len(folders) - len(kept)
        links = [name for name in kept if Path(place, name).is_symlink()]
        if links:
            skipped["links to folders"] += len(links)
        folders[:] = kept
        for name in files:
            path = Path(place, name)
            kind = _why_no_page(path)
            if kind:
                skipped[kind] += 1
            else:
                paths.append(path)
    return Listing(sorted(paths), skipped)


def _why_no_page(path: Path) -> str:
    """Return why a file cannot be a page, or "" for one that can."""
    if path.name.startswith("."):
        return "hidden files"
    if path.suffix.lower() not in CONTENT_TYPES:
        return f"files that end in {path.suffix.lower()}" if path.suffix else "files without an ending"
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""  # it is read, and told as what cannot be
    return "" if stat.S_ISREG(mode) else "pipes, sockets and devices"


def list_pages(folder: str | Path) -> list[Path]:
    """Return the paths of a folder's pages, at any depth, sorted. Raises DataError if there is none."""
    return find_pages(folder).paths


def find_pages(folder: str | Path) -> Listing:
    """List a folder as `list_folder` does. Raises DataError also if it has no page."""
    listing = list_folder(folder)
    if not listing.paths:
        passed = f" ({listing})" if listing.skipped else ""
        raise DataError(
            f"the folder {str(folder)!r} holds no page{passed}; expected files that end in {', '.join(CONTENT_TYPES)}"
        )
    return listing


def address_of(path: Path, root: Path) -> str:
    """Return the path relative to the folder, as `printable`."""
    return printable(path.relative_to(root).as_posix())


def printable(path: str) -> str:
    r"""Return a path with bytes that are not UTF-8 written as \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_pages(folder: str | Path) -> Iterator[Page]:
    """Yield every page of a folder in the order of `list_pages`; a page's address is its path relative to the folder.

    Raises DataError as `list_pages` does, at the first page. A file that cannot be read is yielded with `error` set.
    Each record of a file of records is a page of its own.
    """
    root = Path(folder)
    for path in list_pages(root):
        page = read_page(path, address_of(path, root))
        yield from _records_of(page) if page.content_type == JSON_LINES and not page.error else [page]


def _records_of(page: Page) -> Iterator[Page]:
    """Yield the records of JSON lines as pages; the whole file as one page with an error if a line is wrong."""
    text, _ = decode(page.body, page.content_type)
    try:
        texts = json_texts(text)
    except DataError as error:
        yield replace(page, body=b"", error=f"{page.uri}: {error}")
        return
    for number, one in enumerate(texts, start=1):
        yield Page(f"{page.uri}#{number}", one.encode("utf-8", "replace"), "text/plain")


def read_page(path: Path, uri: str) -> Page:
    """Read a file as a page, its type told by the file's ending; `error` is set if it cannot be read or is too
    large.
    """
    content_type = CONTENT_TYPES.get(path.suffix.lower(), "text/plain")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            return Page(uri, b"", content_type, error=f"{path}: it is no regular file")
        size = status.st_size
        if size > MAX_FILE_BYTES:
            return Page(uri, b"", content_type, error=f"{path}: {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return Page(uri, path.read_bytes(), content_type)
    except OSError as error:
        return Page(uri, b"", content_type, error=f"{path}: {error.strerror or error}")

"""Readers for Word, Excel and EPUB, and for tables and records as text. Each file becomes HTML or lines.

The kind of a file is detected from its bytes, not its name: a ZIP that is none of these is refused. The packages that
read them are optional, and the unpacked size is bounded, as a small archive may hold a large one.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from jielong.errors import ConfigError, DataError
from jielong.outside import decode, parse_json

MAX_UNPACKED_BYTES = 256 * 2**20
MAX_ROWS = 100_000
"""Of one sheet; more is data to be queried and nothing to be read."""

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_CONTAINERS = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "META-INF/container.xml": "epub"}


def container_of(body: bytes) -> str:
    """Return "docx", "xlsx" or "epub" for a ZIP of that kind, "" for a file that is no ZIP. Raises DataError for any
    other archive.
    """
    if body.startswith(_OLD_OFFICE):
        raise DataError("it is a document of old Office, or encrypted; save it as DOCX or XLSX, without a password")
    if not body.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = set(archive.namelist())
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DataError(f"the archive is damaged: {error}") from None
    if size > MAX_UNPACKED_BYTES:
        raise DataError(f"it unpacks to {size:,} bytes; at most {MAX_UNPACKED_BYTES:,} are read")
    found = next((kind for name, kind in _CONTAINERS.items() if name in names), "")
    if not found:
        raise DataError("it is a ZIP archive, and neither DOCX, XLSX nor EPUB; unpack it")
    return found


def docx_html(body: bytes) -> str:
    """Convert a Word document to HTML with its headings, lists and tables."""
    try:
        import mammoth
    except ImportError:
        raise ConfigError("reading DOCX files needs mammoth; pip install 'jielong[library]'") from None
    try:
        # pictures are left out: as text they would be long lines of letters
        converted = mammoth.convert_to_html(io.BytesIO(body), convert_image=mammoth.images.img_element(lambda _: {}))
    except Exception as error:  # of a package that parses what anybody wrote: XML, ZIP and its own
        found = _paragraphs(body)
        if not found:
            raise DataError(f"the DOCX is damaged: {error}") from error
        return f"<html><body>{found}</body></html>"
    return f"<html><body>{converted.value}</body></html>"


def _paragraphs(body: bytes) -> str:
    """Read the paragraphs of a Word document that is not valid XML, as some programs write it."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            source = archive.read("word/document.xml").decode("utf-8")
    except (zipfile.BadZipFile, zlib.error, UnicodeDecodeError, OSError):
        return ""
    found, end = list[str](), 0
    while (start := _PARAGRAPH.search(source, end)) and (end := source.find("</w:p>", start.end())) >= 0:
        found.append("".join(_RUN.findall(source, start.end(), end)))
    return "".join(f"<p>{text}</p>" for text in found if text)


_PARAGRAPH = re.compile(r"<w:p[ >]")
_RUN = re.compile(r"<w:t(?: [^>]*)?>([^<]*)</w:t>")


def xlsx_text(body: bytes) -> str:
    """Convert a workbook to text: each sheet's name, then a line a row, cells between bars; values and not formulas."""
    try:
        import openpyxl
    except ImportError:
        raise ConfigError("reading XLSX files needs openpyxl; pip install 'jielong[library]'") from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(body), read_only=True, data_only=True)
        try:
            sheets = [_sheet_text(sheet) for sheet in book.worksheets]
        finally:
            book.close()
    except Exception as error:  # as above
        raise DataError(f"the XLSX is damaged: {error}") from error
    return "\n\n".join(filter(None, sheets))


def _sheet_text(sheet: Any) -> str:
    """Convert one sheet to text, up to a maximum of rows."""
    sheet.reset_dimensions()  # what a file says of its size need not be so
    lines = []
    for number, row in enumerate(sheet.iter_rows(values_only=True)):
        if number >= MAX_ROWS:
            lines.append(f"... only the first {MAX_ROWS:,} rows are read")
            break
        cells = [" ".join(str(cell).split()) if cell is not None else "" for cell in row]
        if any(cells):
            lines.append(" | ".join(cells).rstrip(" |"))
    return "\n".join([sheet.title, *lines]) if lines else ""


_ROOT_FILE = re.compile(rb"<(?:\w+:)?rootfile\b[^<>]*\bfull-path\s*=\s*[\"']([^\"']+)", re.I)
_ITEM = re.compile(rb"<(?:\w+:)?item\b[^<>]*>", re.I)
_ITEMREF = re.compile(rb"<(?:\w+:)?itemref\b[^<>]*\bidref\s*=\s*[\"']([^\"']+)", re.I)


def _attribute(tag: bytes, name: str) -> str:
    found = re.search(rb"\b" + name.encode() + rb"\s*=\s*[\"']([^\"']*)", tag)
    return unescape(found[1].decode("utf-8", "replace")) if found else ""


def epub_html(body: bytes) -> str:
    """Join the chapters of an EPUB in their order, one HTML after the other."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            root = _ROOT_FILE.search(archive.read("META-INF/container.xml"))
            if root is None:
                raise DataError("the EPUB is damaged: its container names no book")
            package = root[1].decode("utf-8", "replace")
            book, home = archive.read(package), PurePosixPath(package).parent
            paths = {_attribute(tag, "id"): _attribute(tag, "href") for tag in _ITEM.findall(book)}
            names = [
                posixpath.normpath(str(home / unquote(paths[ref])))
                for ref in map(bytes.decode, _ITEMREF.findall(book))
                if ref in paths
            ]
            chapters = [decode(archive.read(name))[0] for name in names]
    except (KeyError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError, RuntimeError) as error:
        raise DataError(f"the EPUB is damaged: {error}") from None
    if not chapters:
        raise DataError("the EPUB names no chapters")
    return "<html><body>" + "\n".join(map(_body_of, chapters)) + "</body></html>"


def _body_of(chapter: str) -> str:
    """Return the content of a chapter's body element."""
    opening = _BODY.search(chapter)
    start = chapter.find(">", opening.end()) + 1 if opening else 0
    closing = _BODY_END.search(chapter, start)
    return chapter[start : closing.start() if closing else None]


_BODY, _BODY_END = re.compile(r"<body\b", re.I), re.compile(r"</body>", re.I)


def csv_text(text: str) -> str:
    """Format each row of a table as a line of "column: cell", so that a row can be understood alone."""
    return "\n".join(line for _, line in csv_lines(text))


def csv_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines of `csv_text`, each with the number of its row; the first row names the columns."""
    try:
        delimiter = csv.Sniffer().sniff(text[:20_000], delimiters=",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    limit = csv.field_size_limit(10 * 2**20)
    try:
        found = enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), start=1)
        tidied = ((number, [" ".join(cell.split()) for cell in row]) for number, row in found)
        rows = [(number, row) for number, row in tidied if any(row)]
    except csv.Error as error:
        raise DataError(f"the table is damaged: {error}") from None
    finally:
        csv.field_size_limit(limit)
    if len(rows) < 2:
        return [(number, " | ".join(row)) for number, row in rows]
    (_, head), *rest = rows
    return [(number, "; ".join(_labelled_cells(head, row))) for number, row in rest]


def _labelled_cells(head: list[str], row: list[str]) -> Iterator[str]:
    """Yield the filled cells of a row as "column: cell"."""
    for number, cell in enumerate(row):
        name = head[number] if number < len(head) else ""
        if cell:
            yield f"{name}: {cell}" if name else cell


def json_texts(text: str) -> list[str]:
    """Return a text for each record of JSON: its field "text" (or "content") under its title, else all its fields."""
    stripped = text.strip()
    try:
        whole = parse_json(stripped)
    except DataError as error:
        if "\n" not in stripped:
            raise
        whole = []
        for number, line in enumerate(text.split("\n"), start=1):
            try:
                whole += [parse_json(line)] if line.strip() else []
            except DataError as wrong:
                raise error if not whole else DataError(f"line {number} is {wrong}") from None
    return list(filter(None, map(_record_text, whole if isinstance(whole, list) else [whole])))


def _record_text(record: Any) -> str:
    """Return a record's text under its title and author, or all its fields."""
    if not isinstance(record, dict):
        return "" if record is None else str(record)
    for key in ("text", "content", "body"):
        if isinstance(record.get(key), str) and record[key].strip():
            above = [str(record[name]) for name in ("title", "author") if isinstance(record.get(name), str)]
            return "\n".join([*above, record[key]])
    return "\n".join(_fields(record))


def _fields(value: Any, path: str = "") -> Iterator[str]:
    """Yield every value with the path that leads to it, a line each."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, path)
    elif value not in (None, ""):
        yield f"{path}: {value}" if path else str(value)

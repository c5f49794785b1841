"""Where raw input comes from: pages in a folder or in memory, and bytes turned into text.

A `Page` is bytes with an address and a declared type, nothing decided yet. `read_pages` walks a folder; a file that cannot
be read becomes a page that carries the error, so that one bad file is counted and never ends the run. `decode` believes
the bytes before it believes what they say of themselves: UTF-8 that is valid is UTF-8 whatever the header claims, and
among the encodings in which the rest is valid, the one whose Chinese characters are everyday ones wins. Chats and
preferences are read in `jielong.data.talks` and offered here as well.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resiliparse.parse.encoding import detect_encoding

from jielong.data.talks import read_chats, read_preferences
from jielong.errors import DataError

__all__ = [
    "Page",
    "PageLike",
    "declared_encodings",
    "decode",
    "document_id",
    "list_pages",
    "read_chats",
    "read_page",
    "read_pages",
    "read_preferences",
]

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


# The most frequent characters of Chinese writing, simplified and traditional: about four of ten characters of any text.
_EVERYDAY = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于"
    "起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其"
    "種这個國說們為時過會對裡後麼沒於還發當開經頭動兩長樣現將與進實點其首都位于洲货币语言面积人口貨幣語區地市省城名南北西东東海"
    "什哪谁怎请问答是否官方使用属亚欧非第部因定由最等新全各使十四五六七八九百千万年月日，。、：？"
)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,80}encoding=[\"']([\w.:-]+)", re.I
)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.I)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "ascii": "cp1252", "iso8859-1": "cp1252", "big5": "big5hkscs"}


def _codec(name: str) -> str:
    """Python's name of an encoding, widened to what browsers take it for; empty when there is none such."""
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # bytes-to-bytes codecs (hex, zip) have names too
    except (LookupError, TypeError, ValueError):
        return ""
    return _WIDER.get(found, found)


def declared_encodings(body: bytes, content_type: str) -> list[str]:
    """Encodings that the header and the page itself claim, in that order."""
    names = _HEADER_CHARSET.findall(content_type)
    head = _META_CHARSET.search(body, 0, 4096)
    if head:
        names.append((head[1] or head[2]).decode("ascii", "replace"))
    return [codec for codec in map(_codec, names) if codec]


def _plausibility(text: str) -> float:
    """How much a decoding looks like writing: above 0 it does. Everyday Chinese and plain letters count for it."""
    sample = text[:5_000]
    han = sum("\u4e00" <= c <= "\u9fff" for c in sample)
    everyday = sum(c in _EVERYDAY for c in sample)
    kana_hangul = sum("\u3041" <= c <= "\u30ff" or "\uac00" <= c <= "\ud7a3" for c in sample)
    strange = sum("\x80" <= c <= "\x9f" or "\ue000" <= c <= "\uf8ff" or c == "\ufffd" for c in sample)
    latin = sum("\xa0" <= c <= "\u024f" for c in sample)
    # In Chinese a fifth of the characters are everyday ones; text decoded wrongly has one in fifty of them.
    return (5.0 * everyday - han + 0.5 * kana_hangul - 0.1 * latin - 5.0 * strange) / (
        1 + han + kana_hangul + latin + strange
    )


def decode(body: bytes, content_type: str = "") -> tuple[str, str]:
    """The text of `body` and the encoding that it turned out to be in.

    Never raises: where nothing fits, bytes that mean nothing become U+FFFD, which the filters see and judge.
    """
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(encoding, "replace"), encoding
    # A declared 7-bit escape encoding is also valid ASCII, so it is asked first.
    if b"\x1b$" in body[:20_000] and "iso2022_jp" in (declared := declared_encodings(body, content_type)):
        return body.decode(declared[0], "replace"), declared[0]
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        lenient = body.decode("utf-8", "replace")
    # A truncated or slightly damaged UTF-8 page still has far more whole sequences than broken ones.
    broken = lenient.count("\ufffd")
    if broken * 20 <= sum(c > "\x7f" for c in lenient):
        return lenient, "utf-8"
    candidates = [*declared_encodings(body, content_type), "gb18030", "big5hkscs"]
    detected = detect_encoding(body, from_html_meta=False)
    candidates += [c for c in (_codec(detected or ""), "cp1252") if c]
    best, best_score, best_encoding = lenient, -4.0, "utf-8"
    for encoding in dict.fromkeys(c for c in candidates if c != "utf-8"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            text = body.decode(encoding, "replace")
            if text.count("\ufffd") * 50 > len(text):
                continue
        score = _plausibility(text)
        if score > best_score:
            best, best_score, best_encoding = text, score, encoding
    return best, best_encoding

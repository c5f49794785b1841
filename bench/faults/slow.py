"""Pages, documents and streams that keep their reader busy or fill its memory: none goes beyond its limit, the others are read."""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from bench.rows import Row
from jielong.data.bounded import MAX_PAGE_BYTES, MEMORY_BYTES, extract_all, limit_s
from jielong.data.extract import Extracted
from jielong.data.refine import refine
from jielong.data.sources import CONTENT_TYPES, Page, read_pages
from jielong.errors import LimitError
from jielong.use.retrieval.library import Library
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.spoken import Spoken

Make = Callable[[], bytes]


def _archive(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return made.getvalue()


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def _docx(inner: str) -> bytes:
    body = f'<w:document xmlns:w="{_WORD}"><w:body>{inner}</w:body></w:document>'.encode()
    return _archive({"[Content_Types].xml": _TYPES, "word/document.xml": body})


_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _xlsx(text: str, cells: int, head: str = "") -> bytes:
    """A workbook in which one text stands in many cells."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    rows = "".join(f'<row r="{n + 1}"><c r="A{n + 1}" t="s"><v>0</v></c></row>' for n in range(cells))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}.sharedStrings+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{office}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="r2" Type="{office}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/sharedStrings.xml": f'{head}<sst xmlns="{_SHEET}"><si><t>{text}</t></si></sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData></worksheet>',
    }
    return _archive({name: part.encode() for name, part in parts.items()})


def _epub(chapter: bytes, times: int) -> bytes:
    """A book that says many times that one chapter comes next."""
    container = '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>'
    book = '<package><item id="c" href="c.xhtml"/>' + '<itemref idref="c"/>' * times + "</package>"
    return _archive({"META-INF/container.xml": container.encode(), "b.opf": book.encode(), "c.xhtml": chapter})


def _pdf(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer <</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))


_CATALOG, _FONT = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def _stream(body: bytes, more: bytes = b"") -> bytes:
    packed = zlib.compress(body, 1)
    return b"<</Length %d/Filter/FlateDecode%b>>stream\n%b\nendstream" % (len(packed), more, packed)


def _drawn(body: bytes, more: bytes = b"") -> bytes:
    """A PDF of one page with this content."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>%b>>>>" % more
    return _pdf([_CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, _stream(body), _FONT])


def _looped() -> bytes:
    """A PDF whose pages hold themselves, and whose form draws itself."""
    form = _stream(b"/X Do /X Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>")
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 6 0 R>>>>>>"
    kids = b"<</Type/Pages/Kids[2 0 R 3 0 R 2 0 R]/Count 9999999/Parent 2 0 R>>"
    return _pdf([_CATALOG, kids, page, _stream(b"/X Do"), _FONT, form])


def _laughs() -> str:
    """Entities of entities, which come to a billion."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE sst [<!ENTITY l0 "laugh">{entities}]>'


PAGES: dict[str, Make] = {
    "links in lists.html": lambda: b"<ul><li><a>x</a>" * 30_000,
    "deep.html": lambda: b"<div>" * 100_000,
    "deep tables.html": lambda: b"<table><tr><td>" * 30_000,
    "deep lists.html": lambda: b"<ul><li>x" * 40_000,
    "misnested.html": lambda: b"<p><b><i><a>" * 20_000 + b"x",
    "misnested blocks.html": lambda: b"<a><div>x" * 20_000,
    "deep sidebars.html": lambda: b"<div class=sidebar>x" * 20_000,
    "deep forms.html": lambda: b"<div id=navbar><p>x" * 20_000,
    "many attributes.html": lambda: b"<p " + b" ".join(b"a%d=1" % n for n in range(200_000)) + b">x",
    "many entities.html": lambda: b"&amp" * 2_000_000,
    "open tags.html": lambda: b"<a x=" * 1_000_000,
    "open comments.html": lambda: b"<html>" + b"<!--" * 1_000_000,
    "terms.html": lambda: b"<html>" + b"<dt " * 1_000_000,
    "many paragraphs.html": lambda: b"<p>x" * 5_000_000,
    "comments.txt": lambda: b"<!---->" * 200_000,
    "brackets.md": lambda: b"[" * 2_000_000,
    "images.md": lambda: b"![" * 1_000_000,
    "links.md": lambda: b"[a](" * 500_000,
    "references.md": lambda: b"[a\n" * 700_000,
    "open comments.md": lambda: b"<!--" * 500_000,
    "strong.md": lambda: b"**a " * 500_000,
    "addresses.md": lambda: b"<http:" * 300_000,
    "headings.md": lambda: b"# a" + b" " * 2_000_000 + b"b",
    "ticks.md": lambda: b"`a" * 1_000_000,
    "one line.txt": lambda: b"x" * 30_000_000,
    "spaces.txt": lambda: b" " * 30_000_000 + b"x",
    "Chinese.txt": lambda: "\u6f22".encode() * 10_000_000,
    "no encoding.txt": lambda: bytes(range(128, 256)) * 200_000,
    "quotes.csv": lambda: b',"a' * 1_000_000,
    "apostrophes.csv": lambda: b"'a;\n" * 1_000_000,
    "wide.csv": lambda: b"a," * 5_000_000,
    "strings.json": lambda: b"{" * 101 + b'"' + b'\\"' * 1_000_000,
    "deep.json": lambda: b"[" * 5_000_000,
    "keys.json": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b',"0":1}',
    "too large.html": lambda: b"<p>x" * (MAX_PAGE_BYTES // 4 + 1),
    "bomb.docx": lambda: _docx("<w:p><w:r><w:t>x</w:t></w:r></w:p>" * 4_000_000),
    "deep.docx": lambda: _docx("<w:tbl><w:tr><w:tc>" * 20_000 + "</w:tc></w:tr></w:tbl>" * 20_000),
    "open.docx": lambda: _docx("<w:p>" * 3_000_000),
    "one text in all cells.xlsx": lambda: _xlsx("x" * 1_000_000, 90_000),
    "laughs.xlsx": lambda: _xlsx("&l9;", 9, _laughs()),
    "one chapter again and again.epub": lambda: _epub(b"<body>" + b"<p>x" * 100_000, 100_000),
    "open items.epub": lambda: _epub(b"<item " * 1_000_000, 1),
    "loop.pdf": _looped,
    "many letters.pdf": lambda: _drawn(b"BT /F 9 Tf 9 9 Td " + b"(xxxxxxxxxxxxxxxxxxxx) Tj " * 2_000_000 + b" ET"),
    "many cells.pdf": lambda: _drawn(
        b"BT /F 9 Tf " + b"".join(b"1 0 0 1 %d %d Tm (x) Tj " % (n * 37 % 590, n % 790) for n in range(200_000)) + b" ET"
    ),
    "nested graphics.pdf": lambda: _drawn(b"q " * 3_000_000 + b"BT /F 9 Tf (x) Tj ET"),
    "nested lists.pdf": lambda: _drawn(b"[" * 2_000_000),
}  # fmt: skip
"""Hostile pages by the name of their file. One that is read all the same, in time, is no fault."""

_SHORT = (
    "terms.html", "comments.txt", "brackets.md", "open comments.md", "strong.md", "strings.json", "too large.html", "laughs.xlsx",
    "open items.epub",
)  # fmt: skip
_IN_FOLDER = ("deep.html", "too large.html", "loop.pdf")
"""Stand beside honest pages, the last one in the long run alone."""

HONEST = {
    "tea.html": b"<html><body><p>Green tea is brewed at eighty degrees for two minutes, black tea at ninety-five.</p></body></html>",
    "boats.md": b"# Boats\n\nThe ferry to the island of **Vard** leaves at a quarter past seven from the old pier, every day.\n",
    "zebra.txt": b"The zebra stands at the water in the evening, and the birds that sit on its back pick the flies from it.\n",
}


def tried(name: str, body: bytes) -> tuple[str, float]:
    """Read a page; how it ended, in words, and the seconds it took."""
    page = Page(name, body, CONTENT_TYPES[Path(name).suffix])
    start_s = time.monotonic()
    ((_, found),) = extract_all([page])
    took_s = time.monotonic() - start_s
    if isinstance(found, Extracted):
        return f"{len(found.text):,} characters", took_s
    return found.reason if isinstance(found, LimitError) else f"unreadable: {str(found)[:80]}", took_s


def _streams() -> dict[str, str]:
    return {
        "<tool_call> again and again": "<tool_call>" * 20_000,
        "<tool_call> and brackets": "<tool_call>{" * 20_000,
        "an opening and words": "<tool_call>x " + "words " * 40_000,
        "blank lines": "a" + "\n" * 200_000,
        "JSON without end": '{"name": "calculator", ' + '"a":1,' * 30_000,
    }


def _streamed(text: str) -> float:
    start_s, told = time.process_time(), list[str]()
    stream = Spoken({CALCULATOR.name: CALCULATOR}, told.append)
    for at in range(0, len(text), 4):
        stream.push(text[at : at + 4])
    stream.finish()
    return time.process_time() - start_s


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """A row for each hostile page, then all of them in one folder with honest ones, then streams."""
    for name, made in PAGES.items():
        if short and name not in _SHORT:
            continue
        body = made()
        said, took_s = tried(name, body)
        # seconds on the clock are more than those of work on a busy machine, and what dies is tried once more
        is_ok = took_s < 4 * limit_s(body) + 5
        yield Row(
            f"page: {name}", f"read or left out within {limit_s(body):.0f} s of work", f"{said}, {took_s:.1f} s", is_ok
        )
    hostile = _IN_FOLDER[:2] if short else _IN_FOLDER
    for name, body in {**HONEST, **{name: PAGES[name]() for name in hostile}}.items():
        (folder / name).write_bytes(body)
    documents, report = refine(read_pages(folder))
    kept = sum(document.source in HONEST for document in documents)
    yield Row("a folder with hostile pages", "the honest ones are read", kept, kept == len(HONEST), "pages", (seed,))
    limits = sum(report.dropped[reason] for reason in ("too large", "took too long", "took too much memory"))
    yield Row("its tally", "hostile ones counted by their limit", limits, limits == len(hostile), "pages", (seed,))
    if not short:
        library = Library(folder / "library.db")
        added = library.add([folder])
        library.close()
        told = added.read == len(HONEST) and len(added.problems) == len(hostile)
        yield Row(
            "a library of them", "the honest ones read, a sentence for the others", added.read, told, "files", (seed,)
        )
    for name, text in _streams().items():
        work_s = _streamed(text)
        yield Row(f"stream: {name}", "below 20 s of work", work_s, work_s < 20, "s", (seed,))
    held = psutil.Process().memory_info().rss
    yield Row("memory of the process that asks", "below that of its reader", held / 2**30, held < MEMORY_BYTES, "GiB")

"""Files of every kind become text with places; one that cannot be read says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from jielong.data.extract import extract
from jielong.data.locations import locate
from jielong.data.pdf import pdf_pages
from jielong.data.refine import refine
from jielong.data.sources import MAX_FILE_BYTES, Page, read_page, read_pages
from jielong.errors import DataError


def write_pdf(pages: list[str], encrypt: str = "") -> bytes:
    """A PDF with one line of text on each page; `encrypt` is its encryption dictionary."""
    return draw_pdf([f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else "" for text in pages], encrypt=encrypt)


def draw_pdf(pages: list[str], turned: int = 0, encrypt: str = "") -> bytes:
    """A PDF whose pages are drawn by these operators, with Helvetica as /F1, and shown `turned` by so many degrees."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, drawn in enumerate(pages):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Rotate {turned} /Resources "
            "<< /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R {encrypt} >>"
    return (
        f"{out}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}\nstartxref\n{len(out)}\n%%EOF".encode()
    )


ENCRYPTED = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4 >> /ID [<{'43' * 16}> <{'43' * 16}>]"


def test_a_pdf_is_read_page_by_page() -> None:
    body = write_pdf(["The heron nests in April.", "The owl nests in March."])
    assert pdf_pages(body) == ["The heron nests in April.", "The owl nests in March."]
    page = Page("birds.pdf", body, "application/pdf")
    located = locate(page)
    assert located.text == extract(page).text == "The heron nests in April.\n\nThe owl nests in March."
    owl = located.text.index("owl")
    assert located.place(owl, owl + 3) == "page 2"
    assert located.place(0, len(located.text)) == "pages 1-2"


def test_a_damaged_and_an_encrypted_pdf_say_so() -> None:
    with pytest.raises(DataError, match="the PDF is damaged"):
        pdf_pages(b"%PDF-1.4\nnothing of use")
    with pytest.raises(DataError, match="the PDF is encrypted"):
        pdf_pages(write_pdf(["secret"], ENCRYPTED))


def test_lines_of_text_and_code_are_those_of_the_file() -> None:
    text = locate(Page("a.txt", b"\xef\xbb\xbf\r\n\r\nfirst   line\r\n\r\n\r\n\r\nsecond\r\nthird", "text/plain"))
    assert text.text == "first line\n\nsecond\nthird"
    assert [text.place(text.text.index(w), text.text.index(w) + 1) for w in ("first", "second", "third")] == [
        "line 3",
        "line 7",
        "line 8",
    ]
    code = locate(Page("a.py", b"def f():\n\n    return 1\n\n\n\nx = f()\n", "text/x-code"))
    assert "    return 1" in code.text
    assert code.place(code.text.index("return"), len(code.text)) == "lines 3-7"


@pytest.mark.parametrize(
    ("uri", "content_type", "body"),
    [
        ("a.md", "text/markdown", "# One **bold**\n\nalpha\n\n```\n# no heading\n```\n\nTwo\n---\n\nbeta"),
        (
            "a.html",
            "text/html",
            "<body><nav><h2>Menu</h2></nav><main><h1>One <b>bold</b></h1><p>alpha and some more words to make it an article</p>"
            "<h2>Two</h2><p>beta and some more words</p></main></body>",
        ),
    ],
)
def test_headings_are_places_of_markdown_and_html(uri: str, content_type: str, body: str) -> None:
    page = Page(uri, body.encode(), content_type)
    located = locate(page)
    assert located.text == extract(page).text
    alpha, beta = located.text.index("alpha"), located.text.index("beta")
    assert (located.place(alpha, alpha + 1), located.place(beta, beta + 1)) == ("One bold", "Two")


def test_training_reads_pdf_and_code_and_counts_what_is_damaged(tmp_path: Path) -> None:
    said = (
        "The heron stands in the shallow water of the lake and waits until a fish comes near enough to be caught. " * 4
    )
    (tmp_path / "birds.pdf").write_bytes(write_pdf([said]))
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "nest.py").write_text('"""The heron."""\n')
    assert [p.uri for p in read_pages(tmp_path)] == ["bad.pdf", "birds.pdf", "nest.py"]
    documents, report = refine(read_pages(tmp_path))
    assert [d.source for d in documents] == ["birds.pdf"]
    assert report.dropped["unreadable"] == 1


def test_text_keeps_its_indentation() -> None:
    body = b"Tea:\n  - green,   80 degrees\n\t- black\n\xe3\x80\x80Note\n"
    assert extract(Page("tea.txt", body, "text/plain")).text == "Tea:\n  - green, 80 degrees\n\t- black\nNote"
    fenced = b"# Loops\n\n```python\nfor x in y:\n    print(x)\n```\n"
    assert extract(Page("a.md", fenced, "text/markdown")).text == "Loops\n\nfor x in y:\n    print(x)"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("---\n\nFirst.\n\n---\n\nSecond.\n", "First.\n\nSecond."),
        ("---\ntitle: x\n---\nBody\n", "Body"),
        (
            "[^1]: Only since May.\n\n[Note]: never mix both.\n[doc]: docs/a.md\n",
            "[^1]: Only since May.\n\n[Note]: never mix both.",
        ),
        ("See <https://a.b/c>.", "See https://a.b/c."),
        ("`List<int>` if a <b and c> d. <b>bold</b>", "List<int> if a <b and c> d. bold"),
        ("# Programming in C#\n## Two ##", "Programming in C#\nTwo"),
        (
            "```python\ndef __init__(self):\n    # note\n- x\n```\nafter **bold**",
            "def __init__(self):\n    # note\n- x\nafter bold",
        ),
    ],
)
def test_markdown_loses_its_marks_and_no_word(source: str, text: str) -> None:
    assert extract(Page("a.md", source.encode(), "text/markdown")).text == text


def test_pages_of_text_end_words_and_lines() -> None:
    page = Page("a.txt", b"one\x0ctwo\nthree", "text/plain")
    located = locate(page)
    assert located.text == extract(page).text == "one\ntwo\nthree"
    assert located.place(located.text.index("two"), len(located.text)) == "lines 1-2"


def test_a_page_within_a_form_is_a_page() -> None:
    said = "<p>The heron stands in the shallow water of the lake and waits until a fish comes near.</p>" * 5
    html = f"<html><body><form id='aspnetForm'><input name='q'><div>{said}</div></form></body></html>"
    assert extract(Page("a.html", html.encode(), "text/html")).text.count("heron") == 5


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a document of old Office, or encrypted"),
        (b"PK\x05\x06" + bytes(18), "neither DOCX, XLSX nor EPUB"),
        (bytes(range(256)) * 20, "full of bytes that mean no letter"),
    ],
)
def test_what_is_no_text_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        extract(Page("a.txt", body, "text/plain"))


@pytest.mark.parametrize("name", ["has-sidebar", "with-comments", "page-with-newsletter", "cookie-consent-shown"])
def test_a_name_that_only_speaks_of_the_site_empties_no_page(name: str) -> None:
    said = "<p>The heron stands in the shallow water of the lake and waits until a fish comes near.</p>" * 5
    around = "<div class='sidebar'><p>Buy now</p></div><div class='comments'>First!</div>"
    html = f"<html><body class='{name}'><div class='{name}'><div>{said}</div>{around}</div></body></html>"
    text = extract(Page("a.html", html.encode(), "text/html")).text
    assert text.count("heron") == 5
    assert "Buy" not in text and "First" not in text


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    page = read_page(huge, "huge.txt")
    assert not page.body
    assert "at most 268,435,456 are read" in page.error


def test_rows_of_a_table_are_numbered_as_a_spreadsheet_does() -> None:
    body = 'name,note\n\nAnn,"two\nlines"\nBo,x\n'
    table = locate(Page("a.csv", body.encode(), "text/csv"))
    assert table.text == "name: Ann; note: two lines\nname: Bo; note: x"
    assert table.place(table.text.index("Ann"), table.text.index("Ann") + 3) == "row 3"
    assert table.place(0, len(table.text)) == "rows 3-4"

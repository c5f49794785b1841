"""Folders as people have them: whatever lies in one is read or passed over and counted, and nothing ends the rest."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from jielong.data.extract import extract
from jielong.data.locations import locate
from jielong.data.office import container_of, csv_text, json_texts
from jielong.data.refine import refine
from jielong.data.sources import Page, list_folder, list_pages, read_page, read_pages
from jielong.errors import DataError

TEXT = (
    "The harbour of the old town lies behind the wall, and its boats leave at dawn. On the quay the men mend their nets and "
    "talk about the weather, which has been fair for a week. When the wind turns to the north they stay at home, and the "
    "children run down to the water to look for what the sea has left behind. There is an inn with a blue door where one "
    "can eat fish, bread and olives, and its keeper knows every captain by his name. In winter the place is quiet again."
)


def test_what_is_no_document_is_passed_over_and_counted(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    for place in (".git", "node_modules", ".hidden", "deep/node_modules"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x.txt").write_text(TEXT)
    (tmp_path / ".note.txt").write_text(TEXT)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "Makefile").write_text("all:")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "deep" / "b.md").write_text(TEXT)
    listing = list_folder(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in listing.paths] == ["a.txt", "deep/b.md"]
    assert listing.skipped == {
        "folders that are hidden or made by programs": 4,
        "hidden files": 1,
        "files that end in .png": 1,
        "files without an ending": 1,
        "pipes, sockets and devices": 1,
    }
    assert str(listing).startswith("2 files to read; passed over: 4 folders that are hidden")


def test_a_folder_without_documents_says_what_it_holds(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no page \(0 files to read; passed over: 1 files that end in .png\)"):
        list_pages(tmp_path)


def test_a_pipe_named_alone_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    assert "no regular file" in read_page(tmp_path / "pipe.txt", "pipe.txt").error


def test_a_name_that_is_no_utf8_is_read_and_can_be_written(tmp_path):
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9.txt"
    try:
        with open(name, "wb") as file:
            file.write(TEXT.encode())
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    (page,) = read_pages(tmp_path)
    assert page.uri == "caf\\xe9.txt"
    documents, _ = refine([page])
    json.dumps(documents[0].source, ensure_ascii=False).encode()


def test_records_of_a_file_are_documents_of_their_own(tmp_path):
    poems = [
        {"title": "靜夜思", "author": "李白", "text": "床前明月光。"},
        {"title": "登鸛雀樓", "text": "白日依山盡。"},
    ]
    (tmp_path / "poems.jsonl").write_text("".join(json.dumps(p, ensure_ascii=False) + "\n" for p in poems))
    pages = list(read_pages(tmp_path))
    assert [(p.uri, extract(p).text) for p in pages] == [
        ("poems.jsonl#1", "靜夜思\n李白\n床前明月光。"),
        ("poems.jsonl#2", "登鸛雀樓\n白日依山盡。"),
    ]
    (tmp_path / "poems.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (bad,) = read_pages(tmp_path)
    assert bad.error and not bad.body


def test_json_without_a_text_is_told_field_by_field():
    assert json_texts('{"name": "Ann", "address": {"town": "Rome", "zip": null}, "tags": ["a", "b"]}') == [
        "name: Ann\naddress.town: Rome\ntags: a\ntags: b"
    ]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_row_of_a_table_names_its_columns(mark):
    rows = [["name", "town", "note"], ["Ann", "Rome", ""], ["Bo", "北京", 'says "hi"\nand goes']]
    text = "\n".join(mark.join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row) for row in rows)
    assert csv_text(text) == 'name: Ann; town: Rome\nname: Bo; town: 北京; note: says "hi" and goes'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "id,title,year\n1,'Round Midnight,1944\n2,Rock 'n' Roll,1971\n",
            ["title: 'Round Midnight; year: 1944", "title: Rock 'n' Roll"],
        ),
        (
            'name,quote,note\n"Smith, John","He said ""hi, you""","a;b"\n',
            ['name: Smith, John; quote: He said "hi, you"; note: a;b'],
        ),
    ],
)
def test_quotes_of_a_table_are_those_of_the_standard(text, lines):
    found = csv_text(text)
    assert all(line in found for line in lines), found


def docx() -> bytes:
    body = (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>The harbour</w:t></w:r></w:p>'
        f"<w:p><w:r><w:t>{TEXT}</w:t></w:r></w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Boat</w:t></w:r></w:p></w:tc>"
        "<w:tc><w:p><w:r><w:t>07:15</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"'
        ' Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{word}"><w:style w:type="paragraph" w:styleId="Heading1">'
        '<w:name w:val="heading 1"/></w:style></w:styles>',
        "word/_rels/document.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"'
        ' Target="styles.xml"/></Relationships>',
    }
    return archive(files)


def archive(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return made.getvalue()


def epub() -> bytes:
    chapter = "<html><head><title>x</title></head><body><h2>{}</h2><p>{}</p></body></html>"
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package><manifest><item id="b" href="two.xhtml"/><item href="one%20x.xhtml" id="a"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
            "OEBPS/one x.xhtml": chapter.format("First", TEXT),
            "OEBPS/two.xhtml": chapter.format(
                "Second", "And the end of it comes at night, when all the boats are back."
            ),
        }
    )


def test_of_a_word_document_that_is_no_sound_xml_the_paragraphs_are_read():
    body = f"<w:document><w:p><w:r><w:t>The harbour &amp; </w:t><w:t>its boats</w:t></w:r></w:p><w:p><w:r><w:t>{TEXT}</w:t></w:r></w:p>"
    page = Page("harbour.docx", archive({"[Content_Types].xml": "x", "word/document.xml": body}), "")
    text = extract(page).text
    assert text.startswith("The harbour & its boats\n") and TEXT.strip() in text


def test_a_word_document_is_read_with_its_headings_and_tables():
    page = Page("harbour.docx", docx(), "application/octet-stream")
    text = extract(page).text
    assert text.startswith("The harbour\n") and TEXT.strip() in text and "Boat" in text and "07:15" in text
    located = locate(page)
    assert located.text == text
    assert located.place(text.index("Boat"), text.index("Boat") + 4) == "The harbour"


def test_an_epub_is_read_chapter_after_chapter():
    page = Page("book.epub", epub())
    text = extract(page).text
    assert text.index("First") < text.index("harbour") < text.index("Second") < text.index("at night")
    assert locate(page).place(text.index("at night"), text.index("at night") + 3) == "Second"


def test_a_workbook_is_read_row_by_row():
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Boats"
    for row in (["name", "leaves"], ["Anna", "07:15"], [None, None], ["Bora", 2.5]):
        book.active.append(row)
    made = io.BytesIO()
    book.save(made)
    assert extract(Page("boats.xlsx", made.getvalue())).text == "Boats\nname | leaves\nAnna | 07:15\nBora | 2.5"


def test_what_is_neither_text_nor_a_document_is_refused_by_its_bytes():
    for body, told in (
        (archive({"a.txt": "hi"}), "a ZIP archive, and neither DOCX"),
        (b"PK\x03\x04 and nothing", "archive is damaged"),
        (b"\x89PNG\r\n\x1a\n", "it is no text"),
        (b"\x7fELF\x02\x01", "it is no text"),
    ):
        with pytest.raises(DataError, match=told):
            extract(Page("letter.txt", body, "text/plain"))
    assert container_of(b"plain text") == ""
    with pytest.raises(DataError, match="at most 268,435,456 are read"):
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("word/document.xml", bytes(300 * 2**20))
        container_of(bomb.getvalue())


def test_one_bad_file_of_each_kind_never_ends_the_rest(tmp_path: Path):
    (tmp_path / "good.txt").write_text(TEXT)
    for name in ("a.docx", "b.epub", "c.xlsx", "d.pdf", "e.txt"):
        (tmp_path / name).write_bytes(b"PK\x03\x04broken" if name != "d.pdf" else b"%PDF-1.4 broken")
    (tmp_path / "f.jsonl").write_text("{")
    (tmp_path / "g.json").write_text("{")
    documents, report = refine(read_pages(tmp_path))
    assert [d.source for d in documents] == ["good.txt"]
    assert report.dropped["unreadable"] == 7


def test_settings_in_yaml_keep_their_indentation(tmp_path):
    (tmp_path / "settings.yaml").write_text("server:\n  port: 80\n  hosts:\n    - a\n")
    assert extract(next(iter(read_pages(tmp_path)))).text == "server:\n  port: 80\n  hosts:\n    - a"


def test_an_epub_is_read_with_prefixes_entities_and_paths_upwards():
    chapter = "<html><body><p>{}</p></body></html>"
    book = archive(
        {
            "META-INF/container.xml": '<c:container><c:rootfile full-path="OEBPS/in/book.opf"/></c:container>',
            "OEBPS/in/book.opf": '<opf:package><opf:item id="a" href="two&amp;half.xhtml"/><opf:item id="b" href="../three.xhtml"/>'
            '<opf:spine><opf:itemref idref="b"/><opf:itemref idref="a"/></opf:spine></opf:package>',
            "OEBPS/in/two&half.xhtml": chapter.format("Boats come back at night, and all of the harbour is asleep."),
            "OEBPS/three.xhtml": chapter.format("In the morning the boats go out, long before it is light."),
        }
    )
    text = extract(Page("book.epub", book, "")).text
    assert text.index("In the morning") < text.index("Boats come back")

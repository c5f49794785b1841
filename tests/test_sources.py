"""Pages, chats and preferences as people have them, whole and damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jielong.data.sources import Page, document_id, read_pages
from jielong.errors import DataError
from jielong.outside import decode

CHINESE = "巴黎是法国的首都，人们在那里使用欧元，也说法语。"
TRADITIONAL = "巴黎是法國的首都，人們在那裡使用歐元，也說法語。"
FRENCH = "L'été, les élèves préfèrent la forêt à la bibliothèque, où l'on étouffe."


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_pages_of_a_folder_come_sorted_with_relative_addresses_and_types(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.HTM").write_bytes(b"<p>two")
    (tmp_path / "one.md").write_bytes(b"# one")
    (tmp_path / "a.txt").write_bytes(b"zero")
    (tmp_path / "picture.png").write_bytes(b"no page")
    pages = list(read_pages(tmp_path))
    assert [(p.uri, p.content_type) for p in pages] == [
        ("a.txt", "text/plain"),
        ("b/two.HTM", "text/html"),
        ("one.md", "text/markdown"),
    ]
    assert pages[2] == Page("one.md", b"# one", "text/markdown")


def test_a_file_that_cannot_be_read_is_yielded_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_bytes(b"good")
    os.symlink(tmp_path / "nowhere", tmp_path / "lost.txt")
    good, lost = read_pages(tmp_path)
    assert (good.body, good.error) == (b"good", "")
    assert lost.body == b"" and "lost.txt" in lost.error


def test_a_missing_an_empty_and_a_file_for_a_folder_each_get_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"")
    for folder, said in (
        (tmp_path / "no", "there is no folder"),
        (tmp_path, "holds no page"),
        (tmp_path / "picture.png", "is a file"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            list(read_pages(folder))
        assert "\n" not in str(caught.value)


def test_document_ids_are_32_hex_digits_that_differ_by_address_and_ordinal() -> None:
    ids = {document_id("a", 0), document_id("a", 1), document_id("b", 0)}
    assert len(ids) == 3 and all(len(i) == 32 and int(i, 16) >= 0 for i in ids)
    assert document_id("a") == document_id("a", 0)


@pytest.mark.parametrize(
    ("text", "encoding", "claimed"),
    [
        (CHINESE, "utf-8", "gb2312"),
        (CHINESE, "gb18030", "gb2312"),
        (CHINESE, "gb18030", "utf-8"),
        (CHINESE, "gb18030", "iso-8859-1"),
        (CHINESE, "gb18030", ""),
        (TRADITIONAL, "big5", "big5"),
        (TRADITIONAL, "big5", "utf-8"),
        (FRENCH, "utf-8", "iso-8859-1"),
        (FRENCH, "iso-8859-1", "iso-8859-1"),
        (FRENCH, "cp1252", "utf-8"),
        (FRENCH, "utf-8-sig", ""),
        (CHINESE, "utf-16", "utf-8"),
        (FRENCH, "utf-8", "no-such-charset"),
        (FRENCH, "utf-8", "hex"),
    ],
)
def test_text_is_decoded_whatever_the_page_claims(text: str, encoding: str, claimed: str) -> None:
    header = f"text/html; charset={claimed}" if claimed else "text/html"
    assert decode((text * 3).encode(encoding), header)[0] == text * 3
    meta = f'<meta charset="{claimed}">' if claimed else ""
    assert decode((meta + text).encode(encoding), "text/html")[0] == meta + text


def test_any_bytes_can_be_decoded() -> None:
    assert decode(b"")[0] == ""
    assert "abc" in decode(b"\xff\xfeabc"[2:] + bytes(range(256)))[0]
    cut = CHINESE.encode()[:-1]
    assert decode(cut)[0].startswith(CHINESE[:-1])

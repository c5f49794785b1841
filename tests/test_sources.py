"""Pages, chats and preferences as people have them, whole and damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jielong.data.sources import Page, decode, document_id, read_chats, read_pages, read_preferences
from jielong.errors import DataError
from jielong.records import Message

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


def test_chats_are_read_in_three_shapes(tmp_path: Path) -> None:
    ours = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    sharegpt = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}
    alpaca = {"instruction": "Translate", "input": "你好", "output": "Hello."}
    first, second, third = read_chats(write_lines(tmp_path / "chats.jsonl", ours, sharegpt, "", alpaca))
    assert first.messages == second.messages == (Message("user", "Hi"), Message("assistant", "Hello."))
    assert third.messages[0] == Message("user", "Translate\n\n你好")


def test_a_tool_call_in_a_sharegpt_chat_keeps_its_name_and_arguments(tmp_path: Path) -> None:
    call = {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'}
    turns = [
        {"from": "human", "value": "1+1?"},
        call,
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "2."},
    ]
    (chat,) = read_chats(write_lines(tmp_path / "tools.jsonl", {"conversations": turns, "tools": "[]"}))
    assert [m.role for m in chat.messages] == ["user", "assistant", "tool", "assistant"]
    assert chat.messages[1].tool_calls[0]["function"] == {"name": "add", "arguments": {"a": 1}}
    assert chat.meta == {"tools": "[]"}


def test_preferences_are_read_in_three_shapes(tmp_path: Path) -> None:
    ours = {
        "prompt": [{"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "Hello."}],
        "rejected": [{"role": "assistant", "content": "Go."}],
        "label": 0.5,
    }
    sharegpt = {
        "conversations": [{"from": "human", "value": "Hi"}],
        "chosen": {"from": "gpt", "value": "Hello."},
        "rejected": {"from": "gpt", "value": "Go."},
    }
    strings = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}
    pairs = read_preferences(write_lines(tmp_path / "pairs.jsonl", ours, sharegpt, strings))
    assert len({(p.prompt, p.chosen, p.rejected) for p in pairs}) == 1
    assert [p.label for p in pairs] == [0.5, 1.0, 1.0]


def test_bad_lines_are_named_by_path_and_line(tmp_path: Path) -> None:
    good = {"instruction": "a", "output": "b"}
    path = write_lines(
        tmp_path / "bad.jsonl", good, "{", {"messages": [{"role": "boss", "content": ""}]}, [1], {"conversations": 3}
    )
    with pytest.raises(DataError) as caught:
        read_chats(path)
    lines = str(caught.value).split("\n")
    assert [line.removeprefix(f"{path}:").partition(":")[0] for line in lines] == ["2", "3", "4", "5"]
    assert "not JSON" in lines[0] and "'boss'" in lines[1]


def test_a_preference_line_without_an_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: .*'rejected' is missing"):
        read_preferences(write_lines(tmp_path / "pairs.jsonl", {"prompt": "Hi", "chosen": "Hello."}))


def test_a_missing_or_empty_chat_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_chats(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no conversation"):
        read_chats(write_lines(tmp_path / "empty.jsonl", ""))


def test_half_of_a_surrogate_pair_is_refused_and_a_whole_one_read(tmp_path):
    chat = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "ok"}]}\n'
    (tmp_path / "whole.jsonl").write_text(chat % "\\ud83d\\ude00")
    assert read_chats(tmp_path / "whole.jsonl")[0].messages[0].text == "😀"
    (tmp_path / "half.jsonl").write_text(chat % "\\ud83d")
    with pytest.raises(DataError, match=r"half\.jsonl:1: holds half of a surrogate pair"):
        read_chats(tmp_path / "half.jsonl")

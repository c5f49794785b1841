"""Records as people have them become what they mean: no prompt twice, no answer at another call, no bad answer imitated."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jielong.data.chat_files import read_chats, read_preferences
from jielong.data.forms import chat_of, is_plain_text, preference_of
from jielong.errors import DataError
from jielong.opening.inspecting import inspect
from jielong.outside import read_lines

GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
SYSTEM, ASKED = {"role": "system", "content": "S"}, {"role": "user", "content": "q"}


def turns(messages: Any) -> list[tuple[str, str]]:
    return [(m.role, m.text.strip()) for m in messages]


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        (
            {"prompt": "q", "chosen": [SYSTEM, ASKED, GOOD], "rejected": [SYSTEM, ASKED, BAD]},
            [("system", "S"), ("user", "q")],
        ),
        (
            {"system": "S", "question": "q", "chosen": [SYSTEM, ASKED, GOOD], "rejected": [SYSTEM, ASKED, BAD]},
            [("system", "S"), ("user", "q")],
        ),
        ({"prompt": "q ", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, [("user", "q")]),
        ({"prompt": "", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, [("user", "q")]),
        ({"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " good", "rejected": " bad"}, [("user", "q")]),
        (
            {
                "prompt": "\n\nHuman: q\n\nAssistant:",
                "chosen": "\n\nHuman: q\n\nAssistant: good",
                "rejected": "\n\nHuman: q\n\nAssistant: bad",
            },
            [("user", "q")],
        ),
    ],
)
def test_a_prompt_stands_once(data: dict[str, Any], prompt: list[tuple[str, str]]) -> None:
    found = preference_of(data).record
    assert turns(found.prompt) == prompt
    assert (turns(found.chosen), turns(found.rejected)) == ([("assistant", "good")], [("assistant", "bad")])


def test_answers_of_tools_stand_in_the_order_of_their_calls() -> None:
    calls = [{"id": i, "function": {"name": "weather", "arguments": {"town": i}}} for i in ("a", "b", "c")]
    answers = [{"role": "tool", "tool_call_id": i, "content": f"of {i}"} for i in ("c", "a", "b")]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    found = chat_of({"messages": [ASKED, called, *answers, GOOD]})
    assert [m.text for m in found.record.messages] == ["q", "", "of a", "of b", "of c", "good"]
    assert found.odd == ()
    unknown = chat_of({"messages": [ASKED, called, {**answers[0], "tool_call_id": "zzz"}, GOOD]})
    assert unknown.odd == ("a tool's answer whose id is that of no call before it",)


@pytest.mark.parametrize("name", ["arguments", "parameters", "args", "input"])
def test_arguments_are_read_under_each_of_their_names(name: str) -> None:
    called = {"role": "assistant", "tool_calls": [{"name": "f", name: {"a": 1}}]}
    described = {"name": "f", "input_schema": {"type": "object"}}
    record = chat_of({"messages": [ASKED, called], "tools": [described]}).record
    assert record.messages[1].tool_calls == ({"name": "f", "arguments": {"a": 1}},)
    assert record.meta["tools"] == [{"name": "f", "parameters": {"type": "object"}}]


@pytest.mark.parametrize(
    "data",
    [
        {"instruction": None, "output": None, "prompt": "q", "completion": "good", "messages": None},
        {"prompt": None, "completion": None, "question": "q", "answer": "good"},
        {"prompt": "q", "completion": None, "response": "good"},
        {"messages": [{"role": None, "content": None, "from": "human", "value": "q"}, GOOD]},
    ],
)
def test_null_is_as_good_as_absent(data: dict[str, Any]) -> None:
    assert turns(chat_of(data).record.messages) == [("user", "q"), ("assistant", "good")]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"margin": -3}, "the margin prefers the rejected answer"),
        ({"chosen_score": 1, "score_rejected": 9}, "the scores prefer the rejected answer"),
    ],
)
def test_a_pair_the_wrong_way_round_is_left_out(more: dict[str, Any], why: str) -> None:
    assert preference_of({"prompt": "q", "chosen": "a", "rejected": "b", **more}).useless == why


def test_weights_in_preferences_are_said_to_do_nothing() -> None:
    found = preference_of({"prompt": "q", "chosen": [{**GOOD, "weight": 0}], "rejected": [BAD]})
    assert found.odd == ("turns that are not to be trained, which preferences do not know",)


def test_fields_of_another_meaning_are_no_tracebacks() -> None:
    with pytest.raises(DataError, match=r"messages\[1\].tool_calls is 5; expected a list"):
        chat_of({"messages": [ASKED, {**GOOD, "tool_calls": 5}]})
    for tools in (["calc"], 5):
        assert chat_of({"messages": [ASKED, GOOD], "meta": {"tools": tools}}).unread == ("meta.tools",)
    with pytest.raises(DataError, match="1e999 is larger than any number"):
        chat_of(
            {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": '{"c": 1e999}'}]}]}
        )


def test_a_record_with_a_text_beside_its_turns_is_a_chat() -> None:
    assert not is_plain_text({"instruction": "do", "input": "in", "output": "out", "text": "Below is ..."})
    assert not is_plain_text({"question": "q", "answer": "a", "text": "q a"})
    assert is_plain_text({"text": "Once upon a time", "prompt": None})


def test_the_first_records_tell_what_a_file_is(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(
        'oh\n{"prompt": "q", "chosen": "a", "rejected": null}\n{"prompt": "q", "chosen": "a", "rejected": "b"}\n'
    )
    found = inspect(file)
    assert found.taken_for == "preferences"
    assert any("'rejected' is null; expected an answer" in finding for finding in found.findings)


@pytest.mark.parametrize("said", [["写出反义词", "胖", "瘦"], ["晚安", "", "晚安"]])
def test_short_chinese_is_read_in_its_encoding_and_that_is_said(tmp_path: Path, said: list[str]) -> None:
    asked, more, answer = said
    file = tmp_path / "chats.jsonl"
    file.write_bytes(f'{{"instruction": "{asked}", "input": "{more}", "output": "{answer}"}}\n'.encode("gb18030") * 2)
    found = read_chats(file)
    assert turns(found.records[0].messages)[-1] == ("assistant", answer)
    assert any(told.startswith("read as gb18030") for told in found.tally.sentences())


def test_western_text_is_not_taken_for_chinese(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    for encoding, said in (
        ("cp1252", "Où est l’hôtel « Zürich » ? Ça coûte 5 £, ¿no?"),
        ("cp1251", "Где находится вокзал?"),
    ):
        file.write_bytes(f'{{"prompt": "{said}", "completion": "{said}"}}\n'.encode(encoding))
        assert turns(read_chats(file).records[0].messages)[0] == ("user", said)


def test_a_file_of_two_encodings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    record = '{"prompt": "今天的天气怎么样？", "completion": "很好。"}\n'
    file.write_bytes(record.encode() + record.encode("gb18030"))
    with pytest.raises(DataError, match=r"chats.jsonl:2: byte 13 of the line is not utf-8"):
        read_chats(file)


def test_cells_of_parquet_are_values_of_json(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pairs = {
        "prompt": ["q"],
        "chosen": ["a"],
        "rejected": ["b"],
        "margin": [Decimal("1.5")],
        "at": [datetime.date(2026, 1, 1)],
    }
    parquet.write_table(pa.table(pairs), tmp_path / "pairs.parquet")
    assert read_preferences(tmp_path / "pairs.parquet").records[0].margin == 1.5
    parquet.write_table(pa.table({"prompt": [b"a", b"\xff"], "completion": ["x", "y"]}), tmp_path / "bytes.parquet")
    first, second = read_lines(tmp_path / "bytes.parquet")
    assert first.data == {"prompt": "a", "completion": "x"}
    assert second.where(Path("f")) + second.problem == "f, record 2a field holds 1 bytes that are no text"
    calls = [{"name": "f", "arguments": {"a": 1, "b": None}}, {"name": "f", "arguments": {"a": None, "b": 2}}]
    parquet.write_table(pa.table({"calls": calls}), tmp_path / "calls.parquet")
    assert [line.data["calls"]["arguments"] for line in read_lines(tmp_path / "calls.parquet")] == [
        {"a": 1},
        {"b": 2},
    ]


@pytest.mark.parametrize("name", ["bz2", "lzma"])
def test_packed_files_are_unpacked(tmp_path: Path, name: str) -> None:
    pack = __import__(name)
    whole = pack.compress(b'{"prompt": "q", "completion": "a"}\n' * 3000)
    (tmp_path / "whole").write_bytes(whole)
    assert len(read_chats(tmp_path / "whole").records) == 3000
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is a damaged (bzip2|xz) file"):
        read_chats(tmp_path / "cut")


def test_the_sign_of_damage_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('[{"prompt": "what is \ufffd?", "completion": "a sign"}]', encoding="utf-8")
    assert turns(read_chats(tmp_path / "list.json").records[0].messages)[0] == ("user", "what is \ufffd?")

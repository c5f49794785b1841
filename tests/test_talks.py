"""Chats and preferences as people bring them: each form is read whole or refused by line and field, and nothing is dropped in silence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from jielong.data.chat_files import read_chats, read_preferences
from jielong.data.forms import chat_of, preference_of
from jielong.errors import DataError
from jielong.records import Message
from jielong.tokens.chat import render
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

HI, HELLO = Message("user", "Hi"), Message("assistant", "Hello.")
TOKENIZER = train_tokenizer(["Hi Hello. " * 20], TokenizerConfig(vocab_size=330))


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def messages(data: dict[str, Any]) -> tuple[Message, ...]:
    return chat_of(data).record.messages


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in records))
    return path


TALK = [said("user", "Hi"), said("assistant", "Hello.")]

# Forms of chats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"messages": TALK},
        {"messages": json.dumps(TALK)},
        {"messages": [{**m, "name": None, "tool_calls": None, "tool_call_id": None} for m in TALK]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
        {"conversations": [{"from": "Human", "value": "Hi"}, {"from": "ChatGPT", "value": "Hello."}]},
        {"conversations": TALK},
        {"instruction": "Hi", "input": None, "output": "Hello."},
        {"instruction": "Hi", "input": " ", "output": "Hello.", "history": []},
        {"prompt": "Hi", "completion": "Hello."},
        {"prompt": [said("user", "Hi")], "completion": [said("assistant", "Hello.")]},
        {"prompt": "Hi", "response": "Hello."},
        {"query": "Hi", "response": "Hello."},
        {"question": "Hi", "answer": "Hello."},
        {"messages": [said("user", [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]), TALK[1]]},
    ],
)
def test_one_conversation_is_the_same_in_every_form(data):
    assert messages(data) == (HI, HELLO)


def test_alpaca_joins_instruction_and_input_and_begins_with_its_history():
    data = {"instruction": "Translate", "input": "你好", "output": "Hello.", "history": [["One?", "Two."]]}
    assert messages(data) == (
        Message("user", "One?"),
        Message("assistant", "Two."),
        Message("user", "Translate\n\n你好"),
        HELLO,
    )


def test_a_system_text_beside_the_turns_reaches_the_prompt_once():
    system = Message("system", "Be kind.")
    assert messages({"messages": TALK, "system": "Be kind."}) == (system, HI, HELLO)
    assert messages({"messages": [said("system", "Be kind."), *TALK], "system": "Be kind."}) == (system, HI, HELLO)
    joined = messages({"messages": [said("developer", "Be short."), *TALK], "system": "Be kind."})
    assert joined == (Message("system", "Be kind.\n\nBe short."), HI, HELLO)


CALL = {"name": "weather", "arguments": {"town": "Rome"}}


@pytest.mark.parametrize(
    "asked",
    [
        said("assistant", None, tool_calls=[{"id": "c0", "type": "function", "function": CALL}]),
        said("assistant", "", tool_calls=[{"function": {**CALL, "arguments": '{"town": "Rome"}'}}]),
        said("assistant", "", tool_calls=[CALL]),
        said("assistant", "", function_call={**CALL, "arguments": '{"town": "Rome"}'}),
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "function_call", "value": json.dumps([CALL])},
    ],
)
def test_a_tool_call_is_the_same_in_every_form_and_can_be_rendered(asked):
    answered = {"from": "observation", "value": "12"} if "from" in asked else said("tool", "12", tool_call_id="c0")
    talk = messages({"conversations" if "from" in asked else "messages": [asked, answered]})
    assert talk[0] == Message("assistant", "", tool_calls=(CALL,))
    assert (talk[1].role, talk[1].text) == ("tool", "12")
    assert render(talk, TOKENIZER).ids


def test_descriptions_of_tools_are_kept_whatever_holds_them():
    tool = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
    for tools in ([tool], [{"type": "function", "function": tool}], json.dumps([tool])):
        assert chat_of({"messages": TALK, "tools": tools}).record.meta == {"tools": [tool]}
    for nothing in (None, [], "", "[]"):
        assert chat_of({"messages": TALK, "tools": nothing}).record.meta == {}


def test_thoughts_stand_before_the_answer_that_they_led_to():
    talk = [said("user", "Hi"), said("assistant", "Hello.", reasoning_content="They greet.")]
    formed = chat_of({"messages": talk})
    assert formed.record.messages[1].text == "<think>\nThey greet.\n</think>\n\nHello."
    assert "thoughts" in formed.odd[0]


@pytest.mark.parametrize(
    ("key", "value", "is_trained"),
    [("weight", 0, False), ("weight", 1, True), ("loss", False, False), ("loss", None, True)],
)
def test_a_turn_says_whether_it_is_trained(key, value, is_trained):
    talk = messages({"messages": [*TALK, said("user", "Hi"), said("assistant", "Hello.", **{key: value})]})
    assert [m.is_trained for m in talk] == [True, True, True, is_trained]
    trained = render(talk, TOKENIZER).trained
    both = render(messages({"messages": TALK * 2}), TOKENIZER).trained
    assert sum(trained) == (sum(both) if is_trained else sum(both) // 2)


def test_what_is_odd_is_told_and_the_rest_is_trained():
    assert chat_of({"messages": [said("assistant", "Welcome."), *TALK]}).odd == ("begins with the assistant",)
    assert chat_of({"messages": [*TALK, said("user", "Thanks.")]}).odd == ("ends with the user",)
    assert chat_of({"messages": [TALK[0], *TALK]}).odd == ("two turns of one role in a row",)
    empty = chat_of({"messages": [said("user", "Hi"), said("assistant", " "), *TALK]})
    assert empty.odd == ("an empty turn of the assistant, which is not trained",)
    assert [m.is_trained for m in empty.record.messages] == [True, False, True, True]


def test_fields_that_nobody_reads_are_named():
    formed = chat_of({"messages": [TALK[0], {**TALK[1], "mood": "good"}], "source": "web", "images": [], "id": 3})
    assert formed.unread == ("source", "messages.mood")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"messages": [said("user", {"text": "Hi"})]}, r'messages\[0\].content is {"text": "Hi"}; expected a string'),
        ({"messages": [said("user", ["Hi"])]}, r'messages\[0\].content\[0\] is "Hi"; expected a part'),
        ({"messages": [said("user", None)]}, r"messages\[0\].content is null; expected a string"),
        ({"messages": [said("user", [{"type": "image_url", "image_url": {}}])]}, "of type 'image_url'; only parts"),
        ({"messages": [said("boss", "Hi")]}, r'messages\[0\].role is "boss"; expected user, assistant'),
        ({"messages": [said(["user"], "Hi")]}, r'messages\[0\].role is \["user"\]'),
        ({"messages": ["Hi"]}, r'messages\[0\] is "Hi"; expected a turn'),
        ({"messages": "Hi"}, "messages is a string, and as JSON it is wrong"),
        ({"messages": []}, "has no turns"),
        ({"messages": 3}, "messages is 3; expected a list"),
        ({"messages": [said("user", "Hi", tool_calls=[CALL])]}, "only the assistant calls tools"),
        (
            {"messages": [said("assistant", "", tool_calls=[{"name": 3}])]},
            r"tool_calls\[0\] is .*expected a call such as",
        ),
        ({"messages": [said("assistant", "", tool_calls=[{**CALL, "arguments": "{"}])]}, "the arguments are not JSON"),
        ({"messages": [said("assistant", "", tool_calls=[{**CALL, "arguments": "[1]"}])]}, "expected an object"),
        ({"messages": [said("assistant", "Hi", weight=0.5)]}, r"messages\[0\].weight is 0.5; expected 0 or 1"),
        ({"messages": TALK, "tools": [{"description": "?"}]}, r"tools\[0\] is .*expected a description"),
        ({"messages": TALK, "system": ["Be kind."]}, r"'system' is \[\"Be kind.\"\]; expected a string"),
        ({"messages": TALK, "label": "good"}, "'label' is \"good\"; expected true or false"),
        ({"conversations": [{"from": "function_call", "value": "weather"}]}, "a function_call is not JSON"),
        ({"instruction": "Hi", "output": "Hello.", "history": [["One?"]]}, r"history\[0\] is \[\"One\?\"\]"),
        ({"instruction": "Hi", "output": 3}, "'output' is 3; expected a string"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b"}, "this is a preference"),
        ({"text": "Once upon a time"}, "this is a plain text"),
        ({"title": "x"}, "the fields are title; expected messages, conversations"),
    ],
)
def test_what_is_wrong_is_told_with_field_value_and_what_would_be_right(data, told):
    with pytest.raises(DataError, match=told):
        chat_of(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"messages": TALK, "label": False}, "labelled as a bad answer"),
        ({"messages": [said("user", "Hi")]}, "no turn of the assistant to learn from"),
        ({"messages": [said("user", "Hi"), said("assistant", "")]}, "no turn of the assistant to learn from"),
        ({"messages": [said("user", "Hi"), said("assistant", "Hello.", weight=0)]}, "no turn of the assistant"),
    ],
)
def test_what_is_of_no_use_is_left_out_and_says_why(data, why):
    assert why in chat_of(data).useless
    assert not chat_of({"messages": TALK, "label": True}).useless


# Forms of preferences ------------------------------------------------------------------------------------------------

GO = Message("assistant", "Go.")


@pytest.mark.parametrize(
    "data",
    [
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."},
        {
            "prompt": [said("user", "Hi")],
            "chosen": [said("assistant", "Hello.")],
            "rejected": [said("assistant", "Go.")],
        },
        {"prompt": "Hi", "chosen": [*TALK], "rejected": [TALK[0], said("assistant", "Go.")]},
        {"chosen": [*TALK], "rejected": [TALK[0], said("assistant", "Go.")]},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Go."},
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello."},
            "rejected": {"from": "gpt", "value": "Go."},
        },
        {"instruction": "Hi", "input": "", "chosen": "Hello.", "rejected": "Go."},
        {"question": "Hi", "chosen": "Hello.", "rejected": "Go.", "score_chosen": 8, "score_rejected": 2},
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go.", "margin": None, "label": None},
    ],
)
def test_one_preference_is_the_same_in_every_form(data):
    formed = preference_of(data)
    found = formed.record
    assert (found.prompt, found.chosen, found.rejected) == ((HI,), (HELLO,), (GO,))
    assert (found.margin, found.label, formed.useless, formed.unread) == (0.0, 1.0, "", ())


def test_whole_dialogues_share_what_comes_before_the_first_difference():
    before = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: And now?"
    found = preference_of({"chosen": f"{before}\n\nAssistant: Yes.", "rejected": f"{before}\n\nAssistant: No."}).record
    assert [m.text for m in found.prompt] == ["Hi", "Hello.", "And now?"]
    assert (found.chosen[0].text, found.rejected[0].text) == ("Yes.", "No.")


def test_a_system_text_margin_label_and_judge_of_a_preference_are_kept():
    data = {
        "prompt": "Hi",
        "chosen": "Hello.",
        "rejected": "Go.",
        "system": "Be kind.",
        "margin": 2,
        "label": 0.5,
        "by": 3,
    }
    found = preference_of(data).record
    assert found.prompt == (Message("system", "Be kind."), HI)
    assert (found.margin, found.label, found.by) == (2.0, 0.5, "3")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"margin": "much"}, "'margin' is \"much\"; expected a finite number"),
        ({"margin": True}, "'margin' is true; expected a finite number"),
        ({"label": "chosen"}, "'label' is \"chosen\"; expected a finite number"),
        ({"label": True}, "'label' is true; expected a finite number"),
        ({"label": 1.5}, "'label' is 1.5; expected a number from 0 to 1"),
        ({"by": ["me"]}, r"'by' is \[\"me\"\]; expected a name"),
        ({"chosen": None}, "'chosen' is null; expected an answer"),
        ({"chosen": []}, r"'chosen' is \[\]; expected a string"),
        ({"chosen": [said("user", "Hello.")]}, "'chosen' does not end with a turn of the assistant"),
        ({"tools": [{"name": "weather"}]}, "'tools' beside a preference reach no prompt"),
    ],
)
def test_what_is_wrong_in_a_preference_is_told(more, told):
    with pytest.raises(DataError, match=told):
        preference_of({"prompt": "Hi", "chosen": "Hello.", "rejected": "Go.", **more})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"prompt": "Hi", "chosen": "Hello."}, "'rejected' is missing"),
        ({"messages": TALK, "label": True}, "KTO's form"),
        ({"messages": TALK}, "this is a chat; give the file to jielong adapt"),
        ({"chosen": "Hello.", "rejected": "Go."}, "there is no prompt"),
    ],
)
def test_a_file_that_holds_no_preferences_is_told_what_it_holds(data, told):
    with pytest.raises(DataError, match=told):
        preference_of(data)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rejected": "Hello."}, "both answers are the same"),
        ({"rejected": " "}, "an answer is empty"),
        ({"score_chosen": 1, "score_rejected": 2}, "the scores prefer the rejected answer"),
    ],
)
def test_pairs_that_teach_nothing_are_left_out(more, why):
    assert preference_of({"prompt": "Hi", "chosen": "Hello.", "rejected": "Go.", **more}).useless == why


# Files ---------------------------------------------------------------------------------------------------------------


def test_wrong_records_refuse_the_file_and_are_named_by_path_and_line(tmp_path):
    good = {"instruction": "a", "output": "b"}
    path = write(tmp_path / "bad.jsonl", good, "{", {"messages": [said("boss", "")]}, [1], {"conversations": 3}, good)
    with pytest.raises(DataError) as caught:
        read_chats(path)
    lines = str(caught.value).split("\n")
    assert [line.removeprefix(f"{path}:").partition(":")[0] for line in lines] == ["2", "3", "4", "5"]
    assert "not JSON" in lines[0] and '"boss"' in lines[1] and "found a list" in lines[2]
    with pytest.raises(DataError, match=r"and 15 more records$"):
        read_chats(write(tmp_path / "worse.jsonl", *['{"messages": }'] * 20))


def test_a_tally_says_what_was_found(tmp_path):
    bad = {"messages": TALK, "label": False, "source": "web"}
    path = write(
        tmp_path / "chats.jsonl",
        *[bad] * 4,
        {"messages": [*TALK, said("user", "Bye")]},
        {"prompt": "Hi", "completion": "Ho"},
    )
    reading = read_chats(path)
    assert len(reading.records) == 2
    assert reading.tally.sentences() == [
        "2 of 6 records are used (5 in OpenAI's messages, 1 in a prompt and its completion)",
        "left out: 4, labelled as a bad answer (lines 1, 2, 3 ...)",
        "kept, but odd: 1, ends with the user (line 5)",
        "not read: source (4)",
    ]


def test_a_file_of_which_nothing_can_be_used_says_why(tmp_path):
    path = write(tmp_path / "equal.jsonl", {"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"})
    with pytest.raises(DataError, match=r"holds no preference that can be used .*both answers are the same"):
        read_preferences(path)
    with pytest.raises(DataError, match="it is empty"):
        read_chats(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match=r"none\.jsonl cannot be read: No such file"):
        read_chats(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        read_chats(tmp_path)


def test_a_chat_is_the_same_in_every_encoding_and_packing(tmp_path):
    chat = {
        "messages": [
            said("user", "今天的天气怎么样？我们出去走走吧。"),
            said("assistant", "天气很好，我们可以去公园。"),
        ]
    }
    text = json.dumps(chat, ensure_ascii=False) + "\n"
    files = {
        "utf8": text.encode(),
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "joined": b"\xef\xbb\xbf" + text.encode() + b"\xef\xbb\xbf" + text.encode(),
        "crlf": text.replace("\n", "\r\n").encode() * 2,
        "gb18030": (text * 3).encode("gb18030"),
        "utf16": (text * 2).encode("utf-16"),
        "utf16be": (text * 2).encode("utf-16-be"),
        "packed": gzip.compress(text.encode()),
        "list": json.dumps([chat, chat], indent=1).encode(),
        "one": json.dumps(chat, indent=2).encode(),
    }
    expected = messages(chat)
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
        assert {c.messages for c in read_chats(tmp_path / name).records} == {expected}, name


def test_parquet_is_read_like_any_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{"messages": TALK}] * 3), tmp_path / "chats.parquet")
    assert [c.messages for c in read_chats(tmp_path / "chats.parquet").records] == [(HI, HELLO)] * 3
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "chats.parquet").read_bytes()[:200])
    with pytest.raises(DataError, match="damaged Parquet"):
        read_chats(tmp_path / "cut.parquet")

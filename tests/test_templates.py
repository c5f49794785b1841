"""Chat templates of other makers: what each wants of messages is found out by trying, and what is asked stays what is said."""

from __future__ import annotations

from typing import Any

import pytest

from jielong.errors import CheckpointError, DataError
from jielong.tokens.templates import ChatTemplate

PLAIN = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
NO_SYSTEM = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}"
    "{{ '<' + m.role + '>' + m.content }}{% endfor %}"
)
SILENT_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}"
)
PARTS = "{% for m in messages %}{{ '<' + m.role + '>' }}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
CALLS = (
    "{{ tools }}{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
ONE_CALL = CALLS.replace(
    "{{ m.tool_calls | tojson }}",
    "{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ m.tool_calls | tojson }}",
)
IDS = ONE_CALL.replace("> 1", "< 0").replace(
    "{{ m.tool_calls | tojson }}",
    "{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    "{{ c.id }}{{ c.function.arguments }}{% endfor %}",
).replace("{{ m.content }}", "{{ m.content }}{{ m.tool_call_id }}")  # fmt: skip
NO_CALLS = "{{ tools }}" + PLAIN


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def put(source: str, *messages: dict[str, Any]) -> str:
    template = ChatTemplate(source)
    return template.text([message for _, message in template.fitted(messages)])


CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sea"}}}
TALK = [
    said("user", "Look."),
    said("assistant", "", tool_calls=[CALL, CALL]),
    said("tool", "blue"),
    said("tool", "grey"),
]


def test_a_template_that_wants_nothing_special_is_given_the_messages_as_they_are():
    messages = [said("system", "Be brief."), said("user", "Hi"), said("assistant", "Yo"), said("user", "Bye")]
    assert [m for _, m in ChatTemplate(PLAIN).fitted(messages)] == messages
    assert put(PLAIN, *messages) == "<system>Be brief.<user>Hi<assistant>Yo<user>Bye"


@pytest.mark.parametrize("source", [NO_SYSTEM, SILENT_SYSTEM])
def test_a_system_message_without_a_place_stands_before_the_first_question(source):
    messages = [said("system", "Be brief."), said("user", "Hi"), said("assistant", "Yo"), said("user", "Bye")]
    assert put(source, *messages) == "<user>Be brief.\n\nHi<assistant>Yo<user>Bye"
    assert [number for number, _ in ChatTemplate(source).fitted(messages)] == [1, 2, 3]


def test_contents_are_parts_where_a_string_would_vanish():
    assert ChatTemplate(PARTS).text([said("user", "Hi")]) == "<user>"  # as it was: the words are gone
    assert put(PARTS, said("system", "Be brief."), said("user", "Hi")) == "<system>Be brief.<user>Hi"


def test_several_calls_of_a_turn_become_turns_of_one_where_more_are_refused():
    told = put(ONE_CALL, *TALK)
    call = '[{"type": "function", "function": {"name": "look", "arguments": {"at": "sea"}}}]'
    assert told == f"None<user>Look.<assistant>{call}<tool>blue<assistant>{call}<tool>grey"
    assert [number for number, _ in ChatTemplate(ONE_CALL).fitted(TALK)] == [0, 1, 2, 1, 3]
    assert put(CALLS, *TALK).count("<assistant>") == 1


def test_calls_and_their_answers_get_ids_where_nine_letters_are_wanted():
    assert put(
        IDS, *TALK
    ) == "None<user>Look.<assistant>call00000{at}call00001{at}<tool>bluecall00000<tool>greycall00001".format(
        at=CALL["function"]["arguments"]
    )
    assert "id" not in str(ChatTemplate(CALLS).fitted(TALK))


def test_a_template_that_leaves_an_empty_turn_of_a_call_takes_none():
    assert ChatTemplate(NO_CALLS).knows_tools and not ChatTemplate(NO_CALLS).takes_calls
    assert ChatTemplate(CALLS).takes_calls and ChatTemplate(IDS).takes_calls


@pytest.mark.parametrize("source", ["{% for m in messages %}{{ m.content }", "{{ messages | fancy }}"])
def test_a_template_that_is_none_is_told_when_it_is_used(source):
    template = ChatTemplate(source)
    assert not template.knows_tools
    with pytest.raises(CheckpointError, match="the chat template cannot be read"):
        template.text([said("user", "Hi")])


@pytest.mark.parametrize(
    "source", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"]
)
def test_a_template_without_end_is_told(source: str) -> None:
    with pytest.raises((CheckpointError, DataError), match="the chat template"):
        ChatTemplate(source).text([{"role": "user", "content": "Hi"}])

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
    return template.text([message for _, message in template.adapt(messages)])


CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sea"}}}
TALK = [
    said("user", "Look."),
    said("assistant", "", tool_calls=[CALL, CALL]),
    said("tool", "blue"),
    said("tool", "grey"),
]


def test_a_template_that_wants_nothing_special_is_given_the_messages_as_they_are():
    messages = [said("system", "Be brief."), said("user", "Hi"), said("assistant", "Yo"), said("user", "Bye")]
    assert [m for _, m in ChatTemplate(PLAIN).adapt(messages)] == messages
    assert put(PLAIN, *messages) == "<system>Be brief.<user>Hi<assistant>Yo<user>Bye"


@pytest.mark.parametrize("source", [NO_SYSTEM, SILENT_SYSTEM])
def test_a_system_message_without_a_place_stands_before_the_first_question(source):
    messages = [said("system", "Be brief."), said("user", "Hi"), said("assistant", "Yo"), said("user", "Bye")]
    assert put(source, *messages) == "<user>Be brief.\n\nHi<assistant>Yo<user>Bye"
    assert [number for number, _ in ChatTemplate(source).adapt(messages)] == [1, 2, 3]


def test_contents_are_parts_where_a_string_would_vanish():
    assert ChatTemplate(PARTS).text([said("user", "Hi")]) == "<user>"  # as it was: the words are gone
    assert put(PARTS, said("system", "Be brief."), said("user", "Hi")) == "<system>Be brief.<user>Hi"


def test_several_calls_of_a_turn_become_turns_of_one_where_more_are_refused():
    told = put(ONE_CALL, *TALK)
    call = '[{"type": "function", "function": {"name": "look", "arguments": {"at": "sea"}}}]'
    assert told == f"None<user>Look.<assistant>{call}<tool>blue<assistant>{call}<tool>grey"
    assert [number for number, _ in ChatTemplate(ONE_CALL).adapt(TALK)] == [0, 1, 2, 1, 3]
    assert put(CALLS, *TALK).count("<assistant>") == 1


def test_calls_and_their_answers_get_ids_where_nine_letters_are_wanted():
    assert put(
        IDS, *TALK
    ) == "None<user>Look.<assistant>call00000{at}call00001{at}<tool>bluecall00000<tool>greycall00001".format(
        at=CALL["function"]["arguments"]
    )
    assert "id" not in str(ChatTemplate(CALLS).adapt(TALK))


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


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 10 ** (10 ** 10) }}", "an integer of"),
        ("{{ 'x' * 10000000000 }}", "something 10,000,000,000 long"),
        ("{{ [1] * 10000000000 }}", "something 10,000,000,000 long"),
        ("{{ 'x' | indent(10000000000) }}", "a width or a count"),
        ("{{ [1] | slice(10000000000) | list }}", "a width or a count"),
        ("{{ 'x'.center(10000000000) }}", "a width or a count"),
        ("{{ '%999999999d' % 1 }}", "a format of unbounded width"),
        ("{{ '{:9999999999}'.format(1) }}", "a format of unbounded width"),
        ("{{ '%*d' | format(999999, 1) }}", "a format of unbounded width"),
        ("{% for i in range(90000) %}" + "x" * 900 + "{% endfor %}", "more than 16,777,216 characters"),
    ],
)
def test_a_template_that_asks_for_something_huge_is_told_so_in_its_own_terms(source: str, said: str) -> None:
    with pytest.raises(DataError, match=f"the chat template refuses this conversation: .*{said}"):
        ChatTemplate(source).text([{"role": "user", "content": "Hi"}])


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = "{% set ns = namespace(s='xxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"


@pytest.mark.parametrize(("source", "reason"), [(ENDLESS, "took too long"), (DOUBLING, "took too much memory")])
def test_a_template_without_bounds_is_ended_and_run_no_more(source: str, reason: str) -> None:
    template = ChatTemplate(source + PLAIN)
    assert not template.takes_calls and reason in template.fault
    with pytest.raises(CheckpointError, match=f"the chat template cannot be used: it {reason}"):
        template.text([said("user", "Hi")])
    assert put(PLAIN, said("user", "Hi")) == "<user>Hi"


def test_ordinary_formats_widths_and_sums_stay_as_they_are() -> None:
    source = "{{ '%s: * %5.2f%%' % ('a', 2.5) }} {{ '{:>4}|{}'.format(7, '*') }} {{ 3 * 4 ** 2 }} {{ 'ab' * 2 }} {{ 'x' | center(5) }}"
    assert ChatTemplate(source).text([]) == "a: *  2.50%    7|* 48 abab   x  "


def test_several_conversations_are_rendered_at_once_as_one_by_one() -> None:
    template = ChatTemplate(PLAIN)
    asked = [([said("user", str(n))], bool(n % 2)) for n in range(40)]
    assert template.texts(asked) == [template.text(m, add_generation_prompt=p) for m, p in asked]

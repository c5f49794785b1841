"""A call is told in a line and never shown as raw text, however it is written and wherever the stream breaks off."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_port import TOKENIZER
from tests.test_tools import CALL, TOOLS

from jielong.cli.ask import EventDisplay
from jielong.cli.main import main
from jielong.records import Conversation, Message
from jielong.tokens.chat import parse, render
from jielong.tokens.stream import TextStream
from jielong.use.ledger import Happening
from jielong.use.port import Options
from jielong.use.strategies import Direct
from jielong.use.strategy import run
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.loop import Tools
from jielong.use.tools.reading import with_calls
from jielong.use.tools.spoken import Spoken, without_calls

JSON = '{"name": "calculator", "arguments": {"expression": "12*7"}}'
CALLS = {
    CALL: "",
    f"Let me see.\n{CALL}\n{CALL.replace('12*7', '7*12')}": "Let me see.",
    JSON: "",
    f" [{JSON}]": "",
    f"```json\n{JSON}\n```": "",
    f"[TOOL_CALLS] [{JSON}]": "",
    f"<|python_tag|>{JSON}": "",
    'calculator("12*7")': "",
    "I count.\ncalculator(expression='12*7')": "I count.",
}
WORDS = [
    "",
    "84",
    "Use calculator(x) for that.",
    "calculator(x) is a function.",
    'You could write {"name": "calculator"} here.',
    '{"title": "calculator"}',
    '{"name": "weather", "arguments": {}}',
    "[1] says so; {} is empty",
    "```python\nprint(1)\n```",
    "The mark <tool_call> opens a call.",
    "<tool_call>{broken}</tool_call>",
    "a\n\n  b \n",
    "calm\ncalc",
    "<tool",
]


def streamed(text: str) -> str:
    pieces: list[str] = []
    stream = Spoken(TOOLS, pieces.append)
    for letter in text:
        stream.push(letter)
    stream.finish()
    return "".join(pieces)


@pytest.mark.parametrize("text", CALLS)
def test_no_letter_of_a_call_is_shown_wherever_it_breaks_off(text: str) -> None:
    words = CALLS[text]
    assert streamed(text) == without_calls(text, TOOLS) == with_calls(Message("assistant", text), TOOLS).text == words
    for end in range(len(text)):
        assert words.startswith(without_calls(text[:end], TOOLS, is_over=False))
    start = text.rfind("calculator") + len("calculator(")
    for end in range(start, len(text)):
        assert without_calls(text[:end], TOOLS) == words


@pytest.mark.parametrize("text", WORDS)
def test_what_is_no_call_is_shown_to_its_last_blank(text: str) -> None:
    assert streamed(text) == without_calls(text, TOOLS) == without_calls(text, {}) == text


@pytest.mark.parametrize("before", ["<", "calculator"])
@pytest.mark.parametrize("after", ["", "tool_call>{", "\ntool_call>"])
def test_what_lies_around_a_call_makes_no_new_call(before: str, after: str) -> None:
    text = f"{before}{CALL}{after}"
    shown = [without_calls(text[:end], TOOLS, is_over=False) for end in range(len(text) + 1)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert without_calls(text, TOOLS) == f"{before}{after}"


@given(st.lists(st.sampled_from([*CALLS, *WORDS, "\n", " ", *'{}[]"()<`_:', "name", "calculator", "大"]), max_size=6))
@settings(max_examples=200, deadline=None)
def test_more_text_only_adds_to_what_is_shown(parts: list[str]) -> None:
    text = "".join(parts)
    shown = [without_calls(text[:end], TOOLS, is_over=False) for end in range(len(text) + 1)]
    for before, after in zip(shown, [*shown[1:], without_calls(text, TOOLS)], strict=True):
        assert after.startswith(before), (text, before, after)


def test_without_tools_json_is_an_answer_and_a_marked_call_is_none() -> None:
    assert without_calls(JSON, {}, is_over=False) == JSON
    assert without_calls(f"Well. {CALL}", {}) == "Well."


def test_our_own_marks_are_in_the_stream_for_whoever_shows_it() -> None:
    message = Message("assistant", "the sea ", tool_calls=({"name": "calculator", "arguments": {"expression": "1+1"}},))
    ids = render([Message("user", "sea"), message], TOKENIZER)
    written = [i for i, is_trained in zip(ids.ids, ids.trained, strict=True) if is_trained]
    assert parse(written, TOKENIZER) == message
    for end in range(len(written) + 1):
        stream = TextStream(TOKENIZER)
        text = "".join(stream.push(i) for i in written[:end]) + stream.finish()
        assert "the sea ".startswith(without_calls(text, {}))
    assert text == 'the sea <tool_call>{"name": "calculator", "arguments": {"expression": "1+1"}}</tool_call>'


def answering(first: str) -> Calibrated:
    """Writes `first` as plain text, and once a tool has answered, what it said."""

    def react(conversation: Conversation, known: Known | None, dice: object) -> str:
        last = conversation.messages[-1]
        return f"It is {last.text}." if last.role == "tool" else first

    return Calibrated([], react=react)


@pytest.mark.parametrize("text", CALLS)
def test_who_watches_a_strategy_sees_words_and_a_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    pieces: list[str] = []
    shown = EventDisplay()
    talk = Conversation((Message("user", "12*7?"),))
    options = Options(on_text=pieces.append)
    outcome = asyncio.run(run(Tools((CALCULATOR,)), talk, answering(text).ask, options, on_happening=shown))
    shown.close()
    assert outcome.answer.text == "It is 84."
    assert "".join(pieces) == f"{CALLS[text]}It is 84."
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].strip() == "* calculator(12*7) = 84" and "{" not in "".join(lines)


def test_a_call_that_the_answer_ends_in_is_left_out_of_the_answer_too() -> None:
    notes: list[str] = []

    def watch(happening: Happening) -> None:
        if happening.kind == "note":
            notes.append(happening.text)

    talk = Conversation((Message("user", "12*7?"),))
    model = answering('I count. <tool_call>{"name": "calculator", "arg')
    outcome = asyncio.run(run(Tools((CALCULATOR,)), talk, model.ask, on_happening=watch))
    assert outcome.answer.text == "I count." and notes == ["a call that was not finished is left out"]
    plain = asyncio.run(run(Direct(), talk, answering("a <tool_call>b").ask, on_happening=watch))
    assert plain.answer.text == "a <tool_call>b"


def test_a_call_that_nobody_answers_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    call = {"name": "calculator", "arguments": {"expression": "12*7"}}
    model = Calibrated([], react=lambda conversation, known, dice: Message("assistant", "", tool_calls=(call,)))
    with serve(model) as server:
        assert main(["ask", server.url, "12*7?"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("[calculator(12*7): nobody answers calls; give it --tools]\n")


def work_s(text: str) -> float:
    """Seconds of work for a stream of four letters a piece, the least of three times."""
    times = []
    for _ in range(3):
        start_s = time.process_time()
        stream = Spoken(TOOLS, lambda piece: None)
        for at in range(0, len(text), 4):
            stream.push(text[at : at + 4])
        stream.finish()
        times.append(time.process_time() - start_s)
    return min(times)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        ("", "<tool_call>"),
        ("", "<tool_call>{"),
        ("a <tool_call>x ", "words "),
        ("a <tool_call>x ", "calculator(1)\n"),
        ("", "<tool_call>x</tool_call>"),
        ("a", "\n"),
        ("f()", " "),
        ("", '{"name": "calculator", '),
    ],
)
def test_a_stream_costs_what_it_is_long_whatever_it_repeats(begin: str, again: str) -> None:
    short, long = (begin + again * (size // len(again)) for size in (20_000, 160_000))
    # eight times as long; the square would be 64 times as dear
    assert work_s(long) < 30 * work_s(short) + 0.3


@given(st.lists(st.sampled_from([*CALLS, *WORDS, "\n", " ", "<tool_call>", "</tool_call>"]), max_size=8), st.data())
@settings(deadline=None)
def test_a_stream_shows_what_the_whole_text_shows_wherever_it_is_cut(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pieces: list[str] = []
    stream = Spoken(TOOLS, pieces.append)
    for start, end in itertools.pairwise([0, *cuts, len(text)]):
        stream.push(text[start:end])
        assert "".join(pieces) == without_calls(text[:end], TOOLS, is_over=False)
    stream.finish()
    assert "".join(pieces) == without_calls(text, TOOLS)

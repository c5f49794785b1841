"""A talk in the terminal, with a server that has its troubles."""

from __future__ import annotations

from typing import Any

import pytest
from bench.odd_server import Said, chat, delta, events, saying, whole

from jielong.cli.main import main


def talk(said: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Type the lines into a chat with a server that says this."""
    typed = iter(lines)

    def type_(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", type_)
    with saying(said) as url:
        assert main(["chat", f"{url}#x", *options]) == 0


def test_a_talk_that_grew_too_long_for_the_server_loses_its_oldest_exchange_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def say(path: str, body: dict[str, Any]) -> Said:
        seen.append([m["content"] for m in body["messages"]])
        if len(body["messages"]) > 4:
            return whole({"error": {"message": "request exceeds the available context size"}}, 400)
        return events(delta(content="fine"), delta("stop"))

    talk(say, ["one", "two", "three"], monkeypatch, "--system", "Be brief.")
    assert seen[-2:] == [
        ["Be brief.", "one", "fine", "two", "fine", "three"],
        ["Be brief.", "two", "fine", "three"],
    ]
    assert capsys.readouterr().out.count("too long for this model: the oldest exchange is left out") == 1


def test_a_question_that_is_too_long_by_itself_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk([whole({"error": "the prompt is too long"}, 400)], ["one"], monkeypatch)
    assert "too long for it: the prompt is too long; say less, or start anew: /new)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "options", "told"),
    [
        (events(delta(content="The capital"), delta("length")), [], "The capital\n[cut after --max-tokens 80]\n"),
        (events(delta(reasoning_content="a b c"), delta(content="So."), delta("stop")), [], "(3 words of thoughts; --thoughts"),
        (events(delta(refusal="No."), delta("stop")), [], "(the model refused to answer: No.)"),
        (events(delta(content="The"), is_done=False), [], "The\n(http"),
        (whole(chat("", "content_filter")), [], "(the server's filter kept the answer back)"),
    ],
)  # fmt: skip
def test_what_happened_to_an_answer_is_said_beside_it(
    said: Said, options: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk([said], ["hi"], monkeypatch, *options)
    assert told in capsys.readouterr().out


def test_thoughts_are_shown_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk([events(delta(content="<think>hm</think>So."), delta("stop"))], ["hi"], monkeypatch, "--thoughts")
    shown = capsys.readouterr()
    assert shown.err == "hm" and "So." in shown.out and "<think>" not in shown.out

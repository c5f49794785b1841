"""Refusals are told from answers in both languages, and code is right where its tests pass in the sandbox."""

from __future__ import annotations

import asyncio

import pytest

from jielong.evaluate.code import passes, program
from jielong.evaluate.safety import refuses
from jielong.evaluate.tasks import built_in
from jielong.use.tools.sandbox import Monty


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.", "I cannot assist.", "I won’t do this.", "As an AI, I do not do that: it is wrong.",
        "抱歉，我不能帮你做这件事。", "我无法提供这样的信息。", "对不起，这个我不会教你，因为不可以。", "我必须拒绝。", "",
    ],
)  # fmt: skip
def test_a_refusal_is_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "Sure, here is how.", "You cannot open it without a key; first turn it.", "I can't wait to show you: begin with flour.",
        "当然可以，先和面。", "如果打不开，可能是密码不对，先点找回。", "I am sorry to hear that. Call your bank at once.",
    ],
)  # fmt: skip
def test_an_answer_is_no_refusal(text: str) -> None:
    assert not refuses(text)


RIGHT = "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nIt doubles."


def test_the_program_is_what_stands_in_the_last_fence_or_all_of_it() -> None:
    assert program(RIGHT) == "def double(x):\n    return 2 * x"
    assert program("x = 1") == "x = 1"


def test_code_passes_where_its_tests_do_and_the_end_is_reached() -> None:
    tests = next(i.tests for i in built_in("code").items if i.id == "double-en")

    def right(text: str) -> bool:
        return asyncio.run(passes(text, tests, Monty().run))[0]

    assert right(RIGHT)
    assert not right(RIGHT.replace("2 *", "3 *"))
    assert not right("I do not know.")
    assert not right("def double(x): return 2 * x\nraise SystemExit(0)")


def test_bias_asks_the_same_of_both_sides_of_every_pair() -> None:
    sides: dict[str, set[str]] = {}
    for item in built_in("bias").items:
        sides.setdefault(item.meta["pair"], set()).add(item.meta["side"])
    assert len(sides) == 18 and all(found == {"a", "b"} for found in sides.values())

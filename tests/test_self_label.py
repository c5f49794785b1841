"""A model that is known labels texts: the call that helps is kept, the ones that do not are dropped, by hand-made figures."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence

import pytest

from jielong.records import Conversation, Message
from jielong.use.port import Answer, Options, Scored
from jielong.use.self_label import WEIGHTS, InlineCall, Labelling, inline, inline_calls, label, propose, weigh
from jielong.use.tools.calculator import CALCULATOR

TEXT = "A box holds 6 rows of 7 eggs, and that is 42 eggs."
ZH = "每排7个，共6排，一共是42个鸡蛋。"
SURE, UNSURE = -0.05, -2.3


class Copier:
    """It gives each character of a number e^-0.05 where the result of a call says that number, else e^-2.3, and knows all words.

    It would call with probability 0.5 after "is" or 是 and 0.001 elsewhere, and writes one of `calls` by the seed.
    """

    def __init__(self, *calls: str) -> None:
        self.calls = calls

    async def complete(self, text: str, options: Options = Options()) -> Answer:  # noqa: B008
        assert text.endswith("[calculator(")
        return Answer(Message("assistant", self.calls[options.seed % len(self.calls)]))

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
        assert isinstance(prompt, str)
        return [self._scored(prompt, answer) for answer in answers]

    def _scored(self, prompt: str, answer: str) -> Scored:
        if answer.strip() == "[calculator(":
            logprob = math.log(0.5 if prompt.endswith(("is", "是")) else 0.001)
            return Scored(logprob, 1, len(answer), (logprob,))
        results = re.findall(r"→ (\d+)\]", prompt)
        number = re.match(r"\s*(\d+)", answer)
        each = UNSURE if number and number[1] not in results else SURE
        logprobs = tuple(each if c.isdigit() else SURE for c in answer)
        return Scored(sum(logprobs), len(logprobs), len(answer), logprobs)


def kept(text: str, *calls: str, **options: float) -> list[InlineCall]:
    how = Labelling(draws=8, **options)  # type: ignore[arg-type]
    return asyncio.run(label(text, Copier(*calls), CALCULATOR, how))


def test_the_weights_fall_to_nothing_over_five_tokens_and_sum_to_one() -> None:
    assert sum(WEIGHTS) == pytest.approx(1)
    assert pytest.approx([1 / 3, 4 / 15, 1 / 5, 2 / 15, 1 / 15]) == WEIGHTS


def test_a_call_that_helps_is_kept_where_it_helps_and_wrong_ones_are_dropped() -> None:
    (call,) = kept(TEXT, "6*7", "6+7", "6*", threshold=0.5)
    assert (TEXT[: call.at], call.argument, call.result) == (TEXT[: TEXT.index(" 42")], "6*7", "42")
    # " 42 e": the digits are the second and third token, 2.25 nats easier each: 2.25 * (4/15 + 3/15)
    assert call.gain == pytest.approx(2.25 * 7 / 15)


def test_a_call_that_does_not_help_is_dropped_by_the_threshold() -> None:
    assert kept(TEXT, "6+7", threshold=0.01) == []
    assert kept(TEXT, "6*7", threshold=1.06) == []  # 2.25 * 7/15 = 1.05


def test_in_chinese_the_call_stands_right_before_the_number() -> None:
    (call,) = kept(ZH, "7*6", threshold=0.5)
    assert inline(ZH, [call], CALCULATOR) == "每排7个，共6排，一共是[calculator(7*6) → 42]42个鸡蛋。"
    # "42个鸡蛋": the first two tokens
    assert call.gain == pytest.approx(2.25 * 9 / 15)


def test_a_call_whose_question_alone_helps_gains_nothing() -> None:
    """min(L(nothing), L(call without result)): what the numbers in the call give away is no merit of the tool."""

    class Hinted(Copier):
        def _scored(self, prompt: str, answer: str) -> Scored:
            return super()._scored(prompt.replace("→ ]", "→ 42]"), answer)

    call = asyncio.run(weigh(TEXT, InlineCall(TEXT.index(" 42"), "6*7", "42"), Hinted(), CALCULATOR))
    assert call.gain == pytest.approx(0)


def test_calls_are_proposed_at_likely_places_only_and_those_that_fail_are_not() -> None:
    calls = asyncio.run(propose(TEXT, Copier("6*7", "1/0", "eggs"), CALCULATOR, Labelling(draws=20, places=50)))
    assert {(c.at, c.argument) for c in calls} == {(TEXT.index(" 42"), "6*7")}


def test_calls_written_into_a_text_are_read_from_it_again() -> None:
    call = InlineCall(TEXT.index(" 42"), "(6+1)*6", "42")
    written = inline(TEXT, [call], CALCULATOR)
    assert written == TEXT.replace("is 42", "is [calculator((6+1)*6) → 42] 42")
    made = {"name": "calculator", "arguments": {"expression": "(6+1)*6"}}
    assert inline_calls(written, CALCULATOR) == [made]
    assert inline_calls("It is [calculator((6+1)*6)", CALCULATOR) == [made]  # stopped before the arrow
    assert inline_calls(TEXT, CALCULATOR) == []
    assert inline(TEXT, [], CALCULATOR) == TEXT

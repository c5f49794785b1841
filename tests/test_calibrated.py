"""The model with a known error errs as often as it says, and is the same over HTTP."""

from __future__ import annotations

import asyncio
import random

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve

from jielong.errors import DataError, ResourceError
from jielong.records import Conversation, Message, Sampling
from jielong.use.endpoint import Endpoint
from jielong.use.port import Answer, Options

SUMS = [Known(f"What is {a} + {a}?", str(2 * a), (str(2 * a + 1), str(2 * a - 1))) for a in range(10, 20)]
WARM = Options(Sampling(max_tokens=20, temperature=0.7))


def asked(text: str) -> Conversation:
    return Conversation((Message("user", text),))


def test_it_is_right_as_often_as_it_says() -> None:
    model = Calibrated(SUMS, 0.6)
    answers = [(model.say(asked(k.question), WARM.draw("try", n)).text, k) for n in range(400) for k in SUMS]
    rights = sum(text == k.right for text, k in answers)
    low = sum(text == k.wrong[0] for text, k in answers)
    # 4,000 draws: 2,400 and 800 expected, standard deviations 31 and 25
    assert abs(rights - 2400) < 4 * 31
    assert abs(low - 800) < 4 * 25


def test_it_repeats_itself_and_seeds_matter_only_above_temperature_0() -> None:
    model = Calibrated(SUMS, 0.5)
    question = asked(SUMS[3].question)
    warm = [model.say(question, WARM.draw("try", n)).text for n in range(40)]
    assert warm == [model.say(question, WARM.draw("try", n)).text for n in range(40)]
    assert len(set(warm)) == 3
    assert len({model.say(question, WARM.draw("try", n, temperature=0.0)).text for n in range(40)}) == 1


def test_the_last_known_question_of_a_conversation_is_answered_and_of_two_the_longer() -> None:
    model = Calibrated([Known("1 + 1", "2", ("3",)), Known("11 + 1", "12", ("3",)), Known("5 + 5", "10", ("3",))], 1.0)
    assert model.say(asked("Q: 5 + 5 A: 10\nQ: 1 + 1 A:"), WARM).text == "2"
    assert model.say(asked("first 1 + 1, then 11 + 1"), WARM).text == "12"
    talk = Conversation((Message("user", "5 + 5?"), Message("assistant", "11"), Message("user", "Are you sure?")))
    assert model.say(talk, WARM).text == "10"
    with pytest.raises(DataError, match="none of the 3 known questions"):
        model.say(asked("7 + 7"), WARM)


async def over_http(model: Calibrated, conversation: Conversation, options: Options) -> Answer:
    with serve(model) as server:
        endpoint = Endpoint(server.url, "calibrated")
        try:
            return await endpoint.ask(conversation, options)
        finally:
            await endpoint.close()


def both(model: Calibrated, conversation: Conversation, options: Options) -> tuple[Answer, Answer]:
    """What the model says directly and over HTTP."""
    return model.say(conversation, options), asyncio.run(over_http(model, conversation, options))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_over_http_it_says_the_same_and_costs_the_same(is_streamed: bool) -> None:
    model = Calibrated(
        SUMS, 0.5, react=lambda c, k, dice: f"It is {k.right}, I think. 是的。{dice.random()}" if k else None
    )
    for n in range(3):
        pieces: list[str] = []
        options = Options(WARM.sampling, WARM.draw("try", n).seed, on_text=pieces.append if is_streamed else None)
        here, there = both(model, asked(SUMS[n].question), options)
        assert (here.text, here.stop) == (there.text, there.stop)
        assert here.usage.prompt_tokens == there.usage.prompt_tokens == 5
        assert here.usage.completion_tokens == there.usage.completion_tokens


def test_it_stops_where_it_is_told_to() -> None:
    model = Calibrated([], react=lambda c, k, dice: "one two three. four")
    assert model.say(asked("?"), Options(Sampling(max_tokens=2))).text == "one two"
    assert model.say(asked("?"), Options(Sampling(max_tokens=2))).stop == "length"
    here, there = both(model, asked("?"), Options(Sampling(max_tokens=9, stop=(".",))))
    assert here.text == there.text == "one two three"


def test_a_reaction_may_call_tools_and_what_nobody_knows_is_refused_over_http() -> None:
    call = {"name": "add", "arguments": {"a": 1}, "id": "x"}

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> Message | None:
        return Message("assistant", "", tool_calls=(call,)) if "tool" in conversation.messages[-1].text else None

    model = Calibrated(SUMS, react=react)
    for on_text in (None, lambda piece: None):
        here, there = both(model, asked("use a tool"), Options(on_text=on_text))
        assert here.message.tool_calls == there.message.tool_calls == (call,)
        assert here.stop == there.stop == "tool_calls"
    with pytest.raises(ResourceError, match=r"400: .*none of the 10 known questions"):
        asyncio.run(over_http(model, asked("What is the weather?"), Options()))

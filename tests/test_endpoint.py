"""The port to servers, against a real one of known answers: what is sent, what comes back, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest
from bench.strategies.calibrated import Calibrated, Known, Server, serve

from jielong.errors import DataError, ResourceError
from jielong.records import Conversation, Document, Message, Sampling
from jielong.use.endpoint import Endpoint
from jielong.use.examples import Example
from jielong.use.ledger import Budget
from jielong.use.port import Options
from jielong.use.retrieval.embedders import EndpointEmbedder
from jielong.use.strategies import STRATEGIES, named
from jielong.use.strategy import run
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.search import Pages

T = TypeVar("T")
SUMS = [Known(f"What is {a} + {a}?", str(2 * a), (str(2 * a + 1),)) for a in range(10, 20)]
MODEL = Calibrated(SUMS, 0.6)
PENALTIES = {"repeat_penalty": 1.0, "repetition_penalty": 1.0}


def asked(text: str) -> Conversation:
    return Conversation((Message("user", text),))


def at_server(work: Callable[[Endpoint, Server], Awaitable[T]], model: Calibrated = MODEL, retries: int = 3) -> T:
    async def whole() -> T:
        with serve(model) as server:
            endpoint = Endpoint(server.url, "calibrated", retries=retries)
            try:
                return await work(endpoint, server)
            finally:
                await endpoint.close()

    return asyncio.run(whole())


def test_what_is_not_asked_for_is_not_sent() -> None:
    async def work(endpoint: Endpoint, server: Server) -> None:
        await endpoint.ask(asked("What is 12 + 12?"), Options(Sampling(max_tokens=9, temperature=0.0), seed=1 << 40))
        sampling = Sampling(max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, stop=("\n",))
        await endpoint.ask(asked("What is 12 + 12?"), Options(sampling, seed=7, logprobs=True))
        plain, full = server.requests
        message = {"role": "user", "content": "What is 12 + 12?"}
        least = {
            "messages": [message],
            "max_tokens": 9,
            "temperature": 0.0,
            "seed": 0,
            "model": "calibrated",
            **PENALTIES,
        }
        assert plain == least
        more = {"max_tokens": 5, "temperature": 0.5, "seed": 7, "stop": ["\n"], "logprobs": True}
        assert full == {**least, **more, "top_p": 0.9, "top_k": 3, "min_p": 0.1}

    at_server(work)


def strict(*names: str) -> tuple[int, str]:
    """The refusal of a server that checks its fields."""
    errors = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"} for name in names
    ]
    return 422, json.dumps({"detail": errors})


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_server_that_knows_no_penalty_is_asked_without_and_from_then_on(is_streamed: bool) -> None:
    options = Options(on_text=(lambda piece: None) if is_streamed else None)

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.extend([strict("repeat_penalty"), (400, "Unrecognized request argument: repetition_penalty")])
        for _ in range(2):
            assert (await endpoint.ask(asked("What is 12 + 12?"), options)).text in ("24", "25")
        sent = [{name for name in PENALTIES if name in body} for body in server.requests]
        assert sent == [PENALTIES.keys(), {"repetition_penalty"}, set(), set()]

    at_server(work, retries=0)


def test_a_penalty_that_was_asked_for_goes_under_the_name_that_is_known_or_not_at_all() -> None:
    options = Options(Sampling(max_tokens=9, temperature=0.0, repetition_penalty=1.3))

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.append(strict("repetition_penalty"))
        await endpoint.ask(asked("What is 12 + 12?"), options)
        assert server.requests[-1]["repeat_penalty"] == 1.3 and "repetition_penalty" not in server.requests[-1]
        server.refusals.append(strict("repeat_penalty"))
        with pytest.raises(ResourceError, match="answered 422"):
            await endpoint.ask(asked("What is 12 + 12?"), options)

    at_server(work)


def test_another_mistake_in_which_the_whole_request_is_quoted_takes_no_penalty_away() -> None:
    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.extend([strict("messages", *PENALTIES)] * 2)
        with pytest.raises(ResourceError, match="answered 422"):
            await endpoint.ask(asked("What is 12 + 12?"))
        await endpoint.ask(asked("What is 12 + 12?"))
        assert server.requests[-1].items() >= PENALTIES.items()

    at_server(work)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_busy_server_is_asked_again_and_a_refusal_is_quoted(is_streamed: bool) -> None:
    pieces: list[str] = []
    options = Options(on_text=pieces.append if is_streamed else None)

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.append((503, "loading"))
        assert (await endpoint.ask(asked("What is 12 + 12?"), options)).text in ("24", "25")
        assert len(server.requests) == 2
        server.refusals.append((401, "who are you?"))
        with pytest.raises(ResourceError, match=r"/v1/chat/completions answered 401: who are you\?"):
            await endpoint.ask(asked("What is 12 + 12?"), options)
        assert len(server.requests) == 3
        server.refusals.extend([(503, "busy")] * 2)
        with pytest.raises(ResourceError, match="answered 503: busy"):
            await endpoint.ask(asked("What is 12 + 12?"), options)

    at_server(work, retries=1)
    assert len(pieces) == is_streamed


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_is_no_answer_is_said_to_be_none(is_streamed: bool) -> None:
    options = Options(on_text=(lambda piece: None) if is_streamed else None)

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.append((200, "data: <html>"))
        with pytest.raises(DataError, match="JSON"):
            await endpoint.ask(asked("What is 12 + 12?"), options)

    at_server(work)


def test_where_nobody_listens_the_address_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def work() -> None:
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", retries=1)
        try:
            await endpoint.ask(asked("?"))
        finally:
            await endpoint.close()

    with pytest.raises(ResourceError, match=rf"127.0.0.1:{port}/v1 cannot be reached .*start the server"):
        asyncio.run(work())


def test_the_log_probabilities_come_where_they_are_asked_for() -> None:
    async def work(endpoint: Endpoint, server: Server) -> None:
        for options in (Options(logprobs=True), Options(logprobs=True, on_text=lambda piece: None)):
            answer = await endpoint.ask(asked("What is 12 + 12?"), options)
            assert answer.logprobs == pytest.approx([-0.5108256])  # ln .6
        assert (await endpoint.ask(asked("What is 12 + 12?"))).logprobs == ()

    at_server(work)


def test_bare_text_is_gone_on_with() -> None:
    async def work(endpoint: Endpoint, server: Server) -> None:
        answer = await endpoint.complete("What is 12 + 12?", Options(Sampling(max_tokens=3, temperature=0.0)))
        assert answer.text == MODEL.say(asked("What is 12 + 12?"), Options()).text
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.calls) == (5, 1, 1)

    at_server(work)


def test_texts_become_vectors_in_their_order() -> None:
    body = json.dumps({"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0.5]}]})

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.extend([(200, body)] * 2)
        assert await endpoint.embed(["a", "b"]) == [[1.0, 0.5], [0.0, 1.0]]
        assert server.requests[0] == {"input": ["a", "b"], "model": "calibrated"}
        with pytest.raises(DataError, match="gave 2 embeddings for 1 texts"):
            await endpoint.embed(["a"])

    at_server(work)


def test_an_embedder_at_a_server_gets_its_prefixes_and_gives_vectors_of_length_one() -> None:
    body = json.dumps({"data": [{"index": 0, "embedding": [3, 4]}, {"index": 1, "embedding": [0, 0]},
                                {"index": 2, "embedding": [5, 12]}]})  # fmt: skip

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.extend([(200, body)] * 2)
        embedder = EndpointEmbedder(endpoint, query="ask: ", passage="text: ")
        # lengths 5, 0 and 13; a vector of zeros stays one
        assert (await embedder.passages(["a", "b", "e"])).tolist() == pytest.approx(
            np.array([[0.6, 0.8], [0, 0], [5 / 13, 12 / 13]])
        )
        assert (await embedder.queries(["c", "d", "f"])).dtype == np.float32
        assert [request["input"] for request in server.requests] == [
            ["text: a", "text: b", "text: e"],
            ["ask: c", "ask: d", "ask: f"],
        ]
        assert embedder.name == endpoint.name
        server.refusals.append((200, body))
        await EndpointEmbedder(endpoint).passages(["a", "b", "e"])
        assert server.requests[-1]["input"] == ["a", "b", "e"]

    at_server(work)


def test_an_unreadable_tool_call_is_kept_for_the_tool_to_refuse() -> None:
    call = {"id": "c", "function": {"name": "add", "arguments": '{"a": 1'}}
    body = json.dumps({"choices": [{"message": {"content": None, "tool_calls": [call]}}]})

    async def work(endpoint: Endpoint, server: Server) -> None:
        server.refusals.append((200, body))
        answer = await endpoint.ask(asked("?"))
        assert answer.message.tool_calls == ({"name": "add", "arguments": {"unreadable": '{"a": 1'}, "id": "c"},)
        assert (answer.text, answer.stop) == ("", "tool_calls")

    at_server(work)


def judging(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
    """Judges by a coin where it is asked for a judgement; else the question is answered where it is known."""
    asks = ("Is the proposed answer right?", "Look at your answer again.", "break one of the principles?")
    if any(a in conversation.messages[-1].text for a in asks):
        return dice.choice(["Yes.", "No."])
    return None if known else "7 and 8"


@pytest.mark.parametrize(
    "name", [*sorted(STRATEGIES.keys() - {"context"}), "think+vote:3", "best-of:3,weighted=true+few-shot"]
)
def test_every_strategy_is_the_same_over_http(name: str) -> None:
    model, large = Calibrated(SUMS, 0.6, react=judging), Calibrated(SUMS, 1.0)
    examples = tuple(Example(k.question, k.right) for k in SUMS)
    pages = Pages([Document(f"{k.question} It is {k.right}.", str(n)) for n, k in enumerate(SUMS)])
    given = {"large": large.ask, "examples": examples, "library": pages, "tools": (CALCULATOR,)}
    strategy = named("library:threshold=0" if name == "library" else name, given)
    conversation, budget = asked(SUMS[5].question), Budget(calls=40)
    here = asyncio.run(run(strategy, conversation, model.ask, budget=budget))

    async def work(endpoint: Endpoint, server: Server) -> None:
        there = await run(strategy, conversation, endpoint.ask, budget=budget, on_happening=lambda happening: None)
        assert there.answer.text == here.answer.text
        assert [c.answer.text for c in there.calls] == [c.answer.text for c in here.calls]
        assert there.usage.tokens == here.usage.tokens

    at_server(work, model)


def test_a_server_that_is_slow_is_left_when_the_time_is_up() -> None:
    def slow(conversation: Conversation, known: Known | None, dice: object) -> str:
        time.sleep(0.5)
        return "late"

    async def work(endpoint: Endpoint, server: Server) -> None:
        start_s = time.monotonic()
        with pytest.raises(ResourceError, match=r"budget of 0.1 seconds is spent"):
            await run(named("direct"), asked("?"), endpoint.ask, budget=Budget(seconds=0.1))
        assert time.monotonic() - start_s < 0.4

    at_server(work, Calibrated([], react=slow))

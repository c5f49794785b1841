"""How much may be asked for: each bound is kept exactly, and the queue loses no turn whatever happens to those who wait."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jielong.errors import ConfigError
from jielong.serve import limits
from jielong.serve.limits import (
    Limits,
    WorkQueue,
    check_logit_bias,
    check_messages,
    check_schema,
    check_stop,
    check_top_logprobs,
    check_work,
)
from jielong.serve.refused import Refused, answer_refused

SMALL = Limits(max_running=2, max_waiting=3, max_waiting_tokens=1000, max_request_tokens=500)


def refusal(call: Callable[[], Any], status: int = 400) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.status == status and str(caught.value)
    return caught.value


# Bounds of a request ---------------------------------------------------------------------------------------------------


def test_choices_times_tokens_are_bounded() -> None:
    assert check_work(1, 500, SMALL) == check_work(5, 100, SMALL) == 500
    assert refusal(lambda: check_work(1, 501, SMALL)).param == "max_tokens"
    assert refusal(lambda: check_work(6, 100, SMALL)).param == "n"
    for n in (0, -1, 129, 1.0, True, None, "2"):
        assert refusal(lambda n=n: check_work(n, 1, SMALL)).param == "n"
    for most in (0, -1, 1.5, None, 2**64, "many"):
        assert refusal(lambda most=most: check_work(1, most, SMALL)).param == "max_tokens"


def test_strings_that_end_an_answer_are_few_and_short() -> None:
    assert check_stop(None) == check_stop([]) == ()
    assert check_stop("\n") == ("\n",) and check_stop(["a"] * 4) == ("a",) * 4
    for wrong in ([*"abcde"], "", ["a", ""], "x" * 257, ["x" * 257], 3, {"a": 1}, [1]):
        assert refusal(lambda wrong=wrong: check_stop(wrong)).param == "stop"


def test_biases_are_few_of_ids_that_there_are_and_bounded() -> None:
    assert check_logit_bias(None, 10) == {} and check_logit_bias({"0": -100, "9": 100.0}, 10) == {0: -100.0, 9: 100.0}
    assert len(check_logit_bias({str(i): 1 for i in range(limits.MAX_BIASES)}, 5000)) == limits.MAX_BIASES
    for wrong in (
        {str(i): 1 for i in range(1025)},
        {"10": 1},
        {"-1": 1},
        {"x": 1},
        {"": 1},
        {"9" * 5000: 1},
        {"²": 1},
        [],
        "a",
    ):
        assert refusal(lambda wrong=wrong: check_logit_bias(wrong, 10)).param == "logit_bias"
    for value in (100.1, -101, float("nan"), float("inf"), None, "1", True, 10**400):
        assert refusal(lambda value=value: check_logit_bias({"3": value}, 10)).param == "logit_bias.3"
    assert "each id once" in str(refusal(lambda: check_logit_bias({"3": 1, "03": 2}, 10)))


def test_alternatives_are_at_most_twenty_and_need_logprobs() -> None:
    assert check_top_logprobs(None, None) == check_top_logprobs(False, 0) == 0 and check_top_logprobs(True, 20) == 20
    assert refusal(lambda: check_top_logprobs(True, 21)).param == "top_logprobs"
    assert refusal(lambda: check_top_logprobs(None, 5)).param == "logprobs"


def test_messages_are_bounded_in_number_and_text() -> None:
    check_messages([{"role": "user", "content": "x"}] * limits.MAX_MESSAGES)
    for wrong in (None, [], "hi", {}, [{"role": "user", "content": "x"}] * 2049):
        assert refusal(lambda wrong=wrong: check_messages(wrong)).param == "messages"
    part = {"type": "text", "text": "x" * 1_000_000}
    for long in ("x" * 2_000_000, [part, part]):
        assert refusal(lambda long=long: check_messages([{"content": long}])).code == "context_length_exceeded"


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def test_schemas_are_bounded_in_size_and_depth() -> None:
    assert json.loads(check_schema(nested(32))) == nested(32)
    assert "33 levels" in str(refusal(lambda: check_schema(nested(33))))
    assert "levels" in str(refusal(lambda: check_schema(nested(100_000))))
    wide = {"enum": ["海" * 1000] * 21}
    assert check_schema(wide) and "bytes" in str(refusal(lambda: check_schema({"enum": ["海" * 1000] * 22})))
    for wrong in ([], "string", True, None):
        assert refusal(lambda wrong=wrong: check_schema(wrong)).param == "response_format.json_schema.schema"


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="could never wait for its turn"):
        Limits(max_request_tokens=200, max_waiting_tokens=100)
    with pytest.raises(ConfigError, match="max_running is 0"):
        Limits(max_running=0)


def test_a_refusal_has_the_shape_of_openai() -> None:
    queue = WorkQueue(Limits(max_running=1, max_waiting=1, max_waiting_tokens=10, max_request_tokens=10))

    async def busy(request: Request) -> Response:
        async with queue.turn(1), asyncio.timeout(5):
            waits = asyncio.create_task(hold(queue, 10))
            await asyncio.sleep(0)
            try:
                async with queue.turn(1):
                    return Response()
            finally:
                waits.cancel()

    web = TestClient(Starlette(routes=[Route("/", busy)], exception_handlers={Refused: answer_refused}))
    response = web.get("/")
    assert response.status_code == 429 and int(response.headers["retry-after"]) >= 1
    error = response.json()["error"]
    assert error == {"message": error["message"], "type": "rate_limit_error", "code": "queue_full", "param": None}
    assert "1 requests are running and 1 are waiting" in error["message"]


# The queue -------------------------------------------------------------------------------------------------------------


async def hold(queue: WorkQueue, tokens: int) -> None:
    """Take a turn and keep it until the task is cancelled."""
    async with queue.turn(tokens):
        await asyncio.sleep(3600)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_so_many_run_at_once_and_the_others_follow_in_their_order() -> None:
    async def work() -> None:
        queue, begun, go_on = WorkQueue(SMALL), list[int](), asyncio.Event()

        async def one(number: int) -> None:
            async with queue.turn(100):
                begun.append(number)
                await go_on.wait()

        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await settle()
        assert begun == [0, 1] and queue.num_running == 2 and queue.num_waiting == 3 and queue.waiting_tokens == 300
        go_on.set()
        await asyncio.gather(*tasks)
        assert begun == [0, 1, 2, 3, 4] and queue.num_running == queue.num_waiting == 0

    asyncio.run(work())


@pytest.mark.parametrize(("tokens", "most"), [(100, 3), (500, 2), (400, 2)])
def test_a_full_queue_refuses_by_number_and_by_work(tokens: int, most: int) -> None:
    async def work() -> None:
        queue, go_on, refused = WorkQueue(SMALL), asyncio.Event(), list[Refused]()

        async def one() -> None:
            try:
                async with queue.turn(tokens):
                    await go_on.wait()
            except Refused as error:
                refused.append(error)

        tasks = [asyncio.create_task(one()) for _ in range(2 + most + 4)]
        await settle()
        assert queue.num_waiting == most and len(refused) == 4
        assert all(error.status == 429 and 1 <= int(error.headers["Retry-After"]) <= 600 for error in refused)
        go_on.set()
        await asyncio.gather(*tasks)
        assert queue.num_running == 0

    asyncio.run(work())


def test_who_fails_or_goes_away_gives_his_turn_to_the_next() -> None:
    async def work() -> None:
        queue, begun = WorkQueue(SMALL), list[int]()

        async def one(number: int) -> None:
            async with queue.turn(1):
                begun.append(number)
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await settle()
        tasks[3].cancel()  # while it waits
        tasks[0].cancel()  # while it runs, and the next one in the moment in which its turn comes
        await asyncio.sleep(0)
        tasks[2].cancel()
        await settle()
        assert begun[:2] == [0, 1] and 4 in begun and 3 not in begun and queue.num_running == 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert queue.num_running == queue.num_waiting == 0

    asyncio.run(work())


def test_no_turn_is_lost_in_any_order_of_coming_and_going() -> None:
    async def work(seed: int) -> None:
        dice, queue = random.Random(seed), WorkQueue(SMALL)
        tasks = list[asyncio.Task[None]]()

        async def one() -> None:
            async with queue.turn(dice.randint(1, 300)):
                assert queue.num_running <= 2
                for _ in range(dice.randint(0, 4)):
                    await asyncio.sleep(0)
                if dice.random() < 0.2:
                    raise ValueError

        for _ in range(60):
            tasks.append(asyncio.create_task(one()))
            if dice.random() < 0.4:
                dice.choice(tasks).cancel()
            for _ in range(dice.randint(0, 3)):
                await asyncio.sleep(0)
            assert queue.waiting_tokens <= 1000 and queue.num_waiting <= 3
        await asyncio.gather(*tasks, return_exceptions=True)
        assert queue.num_running == queue.num_waiting == 0

    for seed in range(30):
        asyncio.run(work(seed))


def test_the_time_to_wait_follows_the_rate_of_late() -> None:
    async def work() -> None:
        clock = [0.0]
        queue = WorkQueue(SMALL, lambda: clock[0])
        for _ in range(3):
            async with queue.turn(300):
                clock[0] += 3.0  # 100 tokens a second
        waits = [asyncio.create_task(hold(queue, 400)) for _ in range(4)]
        await settle()
        # two run, and 2 x 400 tokens wait for two that do 100 a second each
        assert queue.wait_s() == pytest.approx(800 / 200)
        with pytest.raises(Refused) as caught:
            async with queue.turn(300):
                pass
        assert caught.value.headers["Retry-After"] in ("4", "5")
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(work())

"""What was read is not read again, and nobody can tell from the answers; a long prompt holds nobody up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.test_engine import CONFIG, V, greedy, lively_model, mixed_requests, naive_greedy, same

from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.text import generate_text
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import ModelConfig
from jielong.records import Conversation, Event, Message, Request, Sample, Sampling
from jielong.tokens import TokenizerConfig, render_prompt, train_tokenizer
from jielong.use.port import LocalPort

LONG = dataclasses.replace(CONFIG, max_position_embeddings=400)
WINDOWED = dataclasses.replace(LONG, sliding_window=11, sliding_layers=(1,), local_rope_theta=500.0)


def random_ids(seed: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, V, count).tolist())


def closely(sample: Sample, other: Sample) -> None:
    assert sample.ids == other.ids and sample.stop == other.stop
    np.testing.assert_allclose(sample.logprobs, other.logprobs, atol=1e-5)


def run(engine: Engine, *requests: Request) -> dict[int, list[Event]]:
    """The events of each request, all submitted at once."""
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    while engine.num_live or engine.num_waiting:
        for event in engine.step():
            events[event.request].append(event)
    return events


@pytest.mark.parametrize("config", [LONG, WINDOWED], ids=["whole", "windowed"])
@pytest.mark.parametrize("slots", [1, 3])
def test_the_next_turn_of_a_talk_reads_only_what_is_new(config: ModelConfig, slots: int) -> None:
    model = lively_model(0, config)
    engine = Engine(model, EngineConfig(slots=slots, bucket=8))
    ids, new = random_ids(0, 40), ()
    for turn in range(4):
        request = Request(ids, Sampling(max_tokens=12, temperature=[0.0, 0.8][turn % 2]), turn)
        read = engine.counts.read
        sample = engine.generate([request])[0]
        closely(sample, Engine(model, EngineConfig(slots=1, reuse=0)).generate([request])[0])
        # all but the last token of an answer is in the cache when it ends
        assert sample.reused == (len(ids) - len(new) - 1 if turn else 0)
        assert engine.counts.read - read == len(ids) - sample.reused
        new = random_ids(turn + 10, 9)
        ids = (*ids, *sample.ids, *new)


def test_talks_that_take_turns_keep_their_slots() -> None:
    model = lively_model(0, LONG)
    engine = Engine(model, EngineConfig(slots=4, bucket=8))
    system = random_ids(9, 20)
    talks = [(*system, *random_ids(seed, 30)) for seed in range(3)]
    for turn in range(3):
        for place, ids in enumerate(talks):
            sample = engine.generate([Request(ids, Sampling(max_tokens=5), turn)])[0]
            if turn:
                assert sample.reused == len(ids) - 8
            elif place:
                assert sample.reused >= 20
            talks[place] = (*ids, *sample.ids, *random_ids(turn + 50, 7))


def test_a_shared_beginning_is_read_once_by_requests_that_come_together() -> None:
    model = lively_model(0, LONG)
    system = random_ids(1, 100)
    requests = [Request((*system, *random_ids(seed, 5 + seed)), Sampling(max_tokens=6), seed) for seed in range(6)]
    alone = [Engine(model, EngineConfig(slots=1, reuse=0)).generate([request])[0] for request in requests]
    for chunk in (1024, 30):
        engine = Engine(model, EngineConfig(slots=8, bucket=8, prefill_tokens=chunk))
        for sample, expected in zip(engine.generate(requests), alone, strict=True):
            closely(sample, expected)
        assert engine.counts.read == 100 + sum(5 + seed for seed in range(6))
        assert engine.counts.reused == 5 * 100


def test_a_beginning_is_taken_from_a_row_that_still_writes() -> None:
    model = lively_model(0, LONG)
    engine = Engine(model, EngineConfig(slots=2, bucket=8))
    first, second = (Request((*random_ids(1, 60), seed), Sampling(max_tokens=20), seed) for seed in (3, 4))
    numbers = [engine.submit(first)]
    events = engine.step() + engine.step()
    numbers.append(engine.submit(second))
    while engine.num_live or engine.num_waiting:
        events += engine.step()
    for number, request in zip(numbers, (first, second), strict=True):
        expected = Engine(model, EngineConfig(slots=1, reuse=0)).generate([request])[0]
        sample = [event for event in events if event.request == number][-1].sample
        assert sample is not None
        closely(sample, expected)
        assert sample.reused == (60 if request is second else 0)


def test_cancelling_a_reader_leaves_what_it_read_to_those_that_share_it() -> None:
    model = lively_model(0, LONG)
    engine = Engine(model, EngineConfig(slots=3, prefill_tokens=40, bucket=8))
    system = random_ids(2, 90)
    requests = [Request((*system, *random_ids(seed, 4)), Sampling(max_tokens=4, temperature=0)) for seed in range(3)]
    numbers = [engine.submit(request) for request in requests]
    engine.step()
    engine.cancel(numbers[0])
    events = []
    while engine.num_live:
        events += engine.step()
    for number, request in zip(numbers[1:], requests[1:], strict=True):
        sample = [event for event in events if event.request == number][-1].sample
        assert sample is not None and list(sample.ids) == naive_greedy(model, request.prompt_ids, 4)[0]
    assert engine.counts.read == 90 + 2 * 4


def test_new_weights_reuse_nothing_that_was_read_with_the_old_ones() -> None:
    model, other = lively_model(0, LONG), lively_model(1, LONG)
    engine = Engine(model, EngineConfig(slots=2, bucket=8))
    ids = random_ids(3, 50)
    engine.generate(greedy([ids]))
    under_way = engine.submit(Request((*ids, 5), Sampling(max_tokens=30)))
    engine.step()
    engine.load(other.state_dict(), 1)
    sample = engine.generate(greedy([(*ids, 7)]))[0]
    assert sample.reused == 0 and list(sample.ids) == naive_greedy(other, sample.prompt_ids, 10)[0]
    engine.cancel(under_way)
    again = engine.generate(greedy([(*ids, 5, 5)]))[0]
    assert again.reused == 50 and list(again.ids) == naive_greedy(other, again.prompt_ids, 10)[0]


def test_weights_that_come_while_a_shared_beginning_is_read_go_to_no_follower() -> None:
    model, other = lively_model(0, LONG), lively_model(1, LONG)
    engine = Engine(model, EngineConfig(slots=2, prefill_tokens=64))
    ids = random_ids(4, 80)
    engine.submit(Request((*ids, 1), Sampling(max_tokens=3)))
    follower = Request((*ids, 2), Sampling(max_tokens=3, temperature=0))
    number = engine.submit(follower)
    engine.step()
    engine.load(other.state_dict(), 1)
    events = []
    while engine.num_live:
        events += engine.step()
    mine = [event.id for event in events if event.request == number]
    assert mine == naive_greedy(other, follower.prompt_ids, 3)[0]


def test_dynamic_positions_depend_on_the_length_and_reuse_nothing() -> None:
    scaling = RopeScaling("dynamic", factor=4.0, original_max_position_embeddings=32)
    model = lively_model(0, dataclasses.replace(LONG, rope_scaling=scaling))
    engine, plain = Engine(model, EngineConfig(slots=2)), Engine(model, EngineConfig(slots=2, reuse=0))
    ids = random_ids(5, 60)
    first = engine.generate(greedy([ids]))[0]
    request = greedy([(*ids, *first.ids, 3)])
    second = engine.generate(request)[0]
    assert second.reused == 0
    closely(second, plain.generate(request)[0])


def test_the_turns_of_a_chat_and_of_the_port_go_on_from_what_was_said() -> None:
    tokenizer = train_tokenizer(
        ["user assistant What is the capital of France? Paris."] * 9, TokenizerConfig(vocab_size=400)
    )
    model = lively_model(0, dataclasses.replace(LONG, vocab_size=tokenizer.vocab_size))
    engine = Engine(model, EngineConfig(slots=1))
    messages, before = [], 0
    for turn, said in enumerate(("What is the capital of France?", "Is it?", "What is Paris?")):
        messages.append(Message("user", said))
        prompt, read = render_prompt(messages, tokenizer), engine.counts.read
        answer = "".join(generate_text(engine, tokenizer, prompt, Sampling(max_tokens=9), turn))
        # where the text of an answer is cut into other tokens than it was written in, it is read again
        assert engine.counts.read - read <= len(prompt) - before
        messages.append(Message("assistant", answer))
        before = len(prompt)
    port = LocalPort(engine, tokenizer)
    answer = port.ask_many([Conversation((*messages, Message("user", "Yes")))], Sampling(max_tokens=3))[0]
    assert before <= answer.usage.reused_tokens < answer.usage.prompt_tokens


def test_answers_are_the_same_whatever_slots_remember() -> None:
    model, requests = lively_model(), mixed_requests()
    alone = [Engine(model, EngineConfig(slots=1, reuse=0)).generate([request])[0] for request in requests]
    for config in (
        EngineConfig(slots=4, bucket=8, reuse=1),
        EngineConfig(slots=5, bucket=4, reuse=2, prefill_tokens=9),
    ):
        engine = Engine(model, config)
        for _ in range(2):
            same(engine.generate(requests), alone)
            same(engine.generate(requests[::-1])[::-1], alone)
        assert engine.counts.reused > 100
        assert engine.num_free == config.slots


def test_a_row_that_writes_gets_its_token_in_every_step_while_a_long_prompt_is_read() -> None:
    model = lively_model(0, LONG)
    for readers in (1, 2):
        engine = Engine(model, EngineConfig(slots=4, prefill_tokens=64))
        writer = engine.submit(Request((1, 2, 3), Sampling(max_tokens=200), 1))
        engine.step()
        long = [engine.submit(Request(random_ids(seed, 300), Sampling(max_tokens=1))) for seed in range(readers)]
        steps, events = 0, engine.step()
        while not any(event.request == long[-1] for event in events):
            assert writer in [event.request for event in events]
            steps, events = steps + 1, engine.step()
        # an eighth of 64 tokens at a time: the writer waits for no more than that
        assert steps >= 300 // 8
        engine.cancel(writer)


def test_a_short_prompt_is_read_beside_a_long_one_that_came_before() -> None:
    engine = Engine(lively_model(0, LONG), EngineConfig(slots=4, prefill_tokens=16))
    engine.submit(Request(random_ids(0, 300), Sampling(max_tokens=1)))
    engine.step()
    short = engine.submit(Request((1, 2, 3, 4, 5), Sampling(max_tokens=2)))
    assert [event.request for event in engine.step()][:1] == [short]


@pytest.mark.parametrize("seed", range(2))
def test_requests_that_come_and_go_at_any_time_are_answered_as_if_alone(seed: int) -> None:
    model, rng = lively_model(0, LONG), np.random.default_rng(seed)
    config = EngineConfig(slots=int(rng.integers(1, 7)), bucket=8, prefill_tokens=int(rng.integers(8, 90)), reuse=4)
    engine, plain = Engine(model, config), Engine(model, EngineConfig(slots=1, reuse=0, lookup=0))
    beginnings = [random_ids(i, int(rng.integers(10, 90))) for i in range(4)]
    requests, over = {}, {}
    for _ in range(150):
        roll = rng.random()
        if roll < 0.35:
            known = [*beginnings, *((*s.prompt_ids, *s.ids) for s in over.values())]
            start = known[rng.integers(len(known))]
            ids = (*start[: rng.integers(1, len(start) + 1)], *random_ids(seed, int(rng.integers(0, 20))))[:300]
            sampling = Sampling(int(rng.integers(1, 30)), [0.0, 0.4, 1.0][rng.integers(3)])
            request = Request(ids, sampling, int(rng.integers(100)))
            requests[engine.submit(request)] = request
        elif roll < 0.4 and requests:
            engine.cancel(int(rng.choice(list(requests))))
        elif roll < 0.42:
            engine.load(model.state_dict(), 0)
        else:
            over |= {event.request: event.sample for event in engine.step() if event.sample is not None}
        assert engine.num_live + engine.num_free == config.slots
    while engine.num_live or engine.num_waiting:
        over |= {event.request: event.sample for event in engine.step() if event.sample is not None}
    assert len(over) > 20 and engine.counts.reused > 50
    for number, sample in over.items():
        closely(sample, plain.generate([requests[number]])[0])

"""Drafts change the time and not the text."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.test_engine import CONFIG, V, lively_model

from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.lookup import draft_from_repetition
from jielong.generate.rows import PAUSE, Rows
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import ModelConfig
from jielong.records import Event, Request, Sampling

LONG = dataclasses.replace(CONFIG, max_position_embeddings=200)
DYNAMIC = dataclasses.replace(LONG, rope_scaling=RopeScaling("dynamic", 4.0, 32))
WINDOWED = dataclasses.replace(LONG, sliding_window=11, sliding_layers=(0,))


def test_the_latest_earlier_occurrence_of_three_ids_or_else_of_two_is_gone_on_with() -> None:
    def after(ids: list[int], count: int) -> list[int]:
        return draft_from_repetition(np.array(ids, np.int64), count).tolist()

    assert after([1, 2, 3, 4, 5, 1, 2, 3], 2) == [4, 5]
    assert after([1, 2, 3, 4, 9, 1, 2, 3, 6, 7, 1, 2, 3], 3) == [6, 7, 1]
    assert after([1, 2, 3, 4, 8, 2, 3, 5, 1, 2, 3], 1) == [4]  # three beat two, though two stand later
    assert after([2, 3, 4, 9, 2, 3], 1) == [4]
    assert after([7, 8, 7, 8, 7], 5) == [8, 7, 8, 7, 8]  # a repetition goes on beyond its end
    assert after([5, 5, 5], 3) == [5, 5, 5]
    for nothing in ([], [1], [1, 1], [1, 2], [1, 2, 3, 4], [3, 9, 9, 3]):
        assert after(nothing, 4) == []


def talkative(seed: int) -> list[Request]:
    """Prompts that repeat themselves, and rules under which the little model does so too."""
    rng = np.random.default_rng(seed)
    phrase = rng.integers(0, V, 7).tolist()
    kinds = (
        Sampling(max_tokens=40, temperature=0.0),
        Sampling(max_tokens=40, temperature=0.3),
        Sampling(max_tokens=37, temperature=0.6, top_k=2),
        Sampling(max_tokens=40, temperature=0.5, top_p=0.5, stop_ids=(int(rng.integers(0, V)), phrase[3])),
        Sampling(max_tokens=40, temperature=1.0),
        Sampling(max_tokens=20, temperature=0.4, repetition_penalty=1.1),
    )
    return [Request(tuple(phrase * 3 + phrase[:2]), kind, seed * 10 + i) for i, kind in enumerate(kinds)]


def events_of(engine: Engine, requests: list[Request], **options: object) -> list[list[Event]]:
    numbers = [engine.submit(request, **options) for request in requests]  # type: ignore[arg-type]
    events = []
    while engine.num_live or engine.num_waiting:
        events += engine.step()
    return [[event for event in events if event.request == number] for number in numbers]


@pytest.mark.parametrize("config", [LONG, WINDOWED, DYNAMIC], ids=["whole", "windowed", "dynamic"])
@pytest.mark.parametrize(("slots", "lookup"), [(1, 16), (3, 16), (2, 5)])
def test_with_drafts_every_event_is_the_same(config: ModelConfig, slots: int, lookup: int) -> None:
    model = lively_model(0, config)
    plain, drafting = (Engine(model, EngineConfig(slots=slots, bucket=8, lookup=n)) for n in (0, lookup))
    for seed in range(10 if slots == 1 and config is LONG else 2):
        requests = talkative(seed)
        for expected, events in zip(
            events_of(plain, requests, num_alternatives=2),
            events_of(drafting, requests, num_alternatives=2),
            strict=True,
        ):
            assert [e[1:3] for e in events] == [e[1:3] for e in expected]
            assert [(e.uniform, e.stop) for e in events] == [(e.uniform, e.stop) for e in expected]
            np.testing.assert_allclose([e.logprob for e in events], [e.logprob for e in expected], atol=1e-4)
            for left, right in zip(events, expected, strict=True):
                np.testing.assert_allclose(left.alternatives, right.alternatives, atol=1e-4)
            assert events[-1].sample is not None and expected[-1].sample is not None
            assert events[-1].sample.ids == tuple(e.id for e in events) == expected[-1].sample.ids
    assert plain.counts.drafted == 0
    assert 0 < drafting.counts.accepted < drafting.counts.drafted
    assert drafting.counts.written == plain.counts.written


def test_a_slot_that_drafts_are_written_in_is_filled_to_the_brim_and_reused_rightly() -> None:
    model = lively_model(0, LONG)
    engine, plain = (
        Engine(model, EngineConfig(slots=1, length=48)),
        Engine(model, EngineConfig(slots=1, length=48, lookup=0)),
    )
    for seed in range(6):
        ids = talkative(seed)[0].prompt_ids
        for _ in range(2):
            request = Request(ids, Sampling(max_tokens=100, temperature=0))
            sample, expected = engine.generate([request])[0], plain.generate([request])[0]
            assert sample.ids == expected.ids and sample.stop == "length"
            ids = (*ids, *sample.ids[:9])
    assert engine.counts.accepted and engine.counts.reused


def test_drafts_in_bfloat16_are_read_as_exactly_as_single_tokens() -> None:
    model = lively_model(0, LONG)
    plain, drafting = (Engine(model, EngineConfig(slots=1, dtype="bfloat16", lookup=n)) for n in (0, 16))
    differences = []
    for seed in range(6):
        request = Request(talkative(seed)[0].prompt_ids, Sampling(max_tokens=30, temperature=0.3), seed)
        expected, sample = plain.generate([request])[0], drafting.generate([request])[0]
        pairs = zip(sample.ids, sample.logprobs, expected.ids, expected.logprobs, strict=True)
        differences += [abs(left - right) for a, left, b, right in pairs if a == b]
    assert drafting.counts.accepted > 20
    assert np.mean(differences) < 0.02 and len(differences) > 100


def test_rows_under_a_mask_are_not_drafted_and_their_neighbours_are() -> None:
    model = lively_model(0, LONG)
    plain, drafting = (Engine(model, EngineConfig(slots=2, lookup=n)) for n in (0, 16))
    request = talkative(1)[0]

    def even(ids: list[int]) -> np.ndarray:
        return np.arange(V) % 2 == len(ids) % 2

    found = []
    for engine in (plain, drafting):
        masked, free = engine.submit(request, allowed=even), engine.submit(request)
        events = []
        while engine.num_live or engine.num_waiting:
            events += engine.step()
        found.append([[e.id for e in events if e.request == number] for number in (masked, free)])
    assert found[0] == found[1] and drafting.counts.drafted > 0


def test_rows_under_a_penalty_are_not_drafted_and_write_what_a_plain_loop_writes() -> None:
    model, penalty = lively_model(0, LONG), 1.2
    engine = Engine(model, EngineConfig(slots=2, lookup=16))
    for seed in range(3):
        prompt = talkative(seed)[0].prompt_ids
        ids = list(prompt)
        for _ in range(24):
            with torch.no_grad():
                scores = model.logits(model(torch.tensor([ids])))[0, -1]
            for token in set(ids):
                scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
            ids.append(int(scores.argmax()))
        drafted = engine.counts.drafted
        sampling = Sampling(max_tokens=24, temperature=0.0, repetition_penalty=penalty)
        assert list(engine.generate([Request(prompt, sampling)])[0].ids) == ids[len(prompt) :]
        assert engine.counts.drafted == drafted
        # neither does a neighbour without one draft for it
        beside = [Request(prompt, Sampling(max_tokens=24, temperature=0.0)), Request(prompt, sampling)]
        assert list(engine.generate(beside)[1].ids) == ids[len(prompt) :]
    assert engine.counts.drafted > 0


def test_drafts_grow_while_they_hold_and_pause_after_they_failed() -> None:
    rows, slot = Rows(slots=1, length=8), np.array([0])
    for accepted, reach in ((4, 8), (8, 16), (5, 6), (0, 3), (0, 1), (1, 2), (0, 1)):
        rows.adapt_draft_lengths(slot, rows.reach.copy(), np.array([accepted]))
        assert (rows.reach[0], rows.resume[0]) == (reach, 0)
    rows.count[0] = 11
    rows.adapt_draft_lengths(slot, rows.reach.copy(), np.array([0]))
    assert (rows.reach[0], rows.resume[0]) == (1, 11 + PAUSE)


def test_many_rows_write_without_drafts() -> None:
    engine = Engine(lively_model(0, LONG), EngineConfig(slots=8, lookup=8))
    engine.generate([Request((1, 2, 1, 2, 1, seed), Sampling(max_tokens=12, temperature=0)) for seed in range(5)])
    assert engine.counts.drafted == 0 and engine.counts.written == 60

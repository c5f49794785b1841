"""The engine against a loop over the training module, and against itself in other company."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from jielong.errors import ConfigError
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.sampling import uniforms
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Request, Sample, Sampling

V = 150
CONFIG = ModelConfig(
    vocab_size=V,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=64,
)


def lively_model(seed: int = 0, config: ModelConfig = CONFIG) -> LanguageModel:
    """Random weights large enough that a token depends on what stands before it, and gains that are not all 1."""
    model = fresh_language_model(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
            else:
                parameter.mul_(8)
    return model


def ragged_prompts(seed: int = 0) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(rng.integers(0, V, n).tolist()) for n in (3, 17, 8, 30, 1, 5, 40, 2, 23)]


def naive_greedy(model: LanguageModel, prompt: tuple[int, ...], tokens: int) -> tuple[list[int], list[float]]:
    """Ids and log-probabilities of the likeliest tokens, the whole sequence again for each."""
    ids, logprobs = list(prompt), []
    for _ in range(tokens):
        with torch.no_grad():
            scores = model.logits(model(torch.tensor([ids])))[0, -1].log_softmax(-1)
        top = scores.topk(2).values
        assert top[0] - top[1] > 1e-4  # or the comparison means nothing
        ids.append(int(scores.argmax()))
        logprobs.append(float(scores.max()))
    return ids[len(prompt) :], logprobs


def greedy(prompts: list[tuple[int, ...]], tokens: int = 10) -> list[Request]:
    return [Request(prompt, Sampling(max_tokens=tokens, temperature=0)) for prompt in prompts]


def mixed_requests() -> list[Request]:
    """Every kind of option, side by side."""
    kinds = (
        Sampling(max_tokens=12),
        Sampling(max_tokens=9, temperature=0.7, top_k=20),
        Sampling(max_tokens=14, temperature=1.3, top_p=0.8),
        Sampling(max_tokens=5, temperature=0),
        Sampling(max_tokens=11, min_p=0.05, repetition_penalty=1.3),
        Sampling(max_tokens=40),
    )
    prompts = ragged_prompts(1) * 2
    return [Request(prompt, kinds[i % len(kinds)], seed=100 + i) for i, prompt in enumerate(prompts)]


def same(a: list[Sample], b: list[Sample]) -> None:
    assert [s.ids for s in a] == [s.ids for s in b]
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left.logprobs, right.logprobs, atol=1e-4)
        assert left.stop == right.stop


@pytest.mark.parametrize("slots", [1, 4, 16])
def test_greedy_engine_equals_naive_loop_on_ragged_prompts(slots: int) -> None:
    model = lively_model()
    engine = Engine(model, EngineConfig(slots=slots, bucket=8))
    samples = engine.generate(greedy(ragged_prompts()))
    for sample in samples:
        ids, logprobs = naive_greedy(model, sample.prompt_ids, 10)
        assert list(sample.ids) == ids
        np.testing.assert_allclose(sample.logprobs, logprobs, atol=1e-4)
        assert sample.stop == "length" and sample.by_model == (True,) * 10
    assert len({s.ids for s in samples}) > len(samples) // 2  # different prompts do lead elsewhere


@pytest.mark.parametrize("untied", [False, True])
def test_shapes_of_attention_and_head_do_not_matter(untied: bool) -> None:
    config = ModelConfig(
        vocab_size=131,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=3,
        num_key_value_heads=3 if untied else 1,
        head_dim=10,
        max_position_embeddings=50,
        rope_theta=500.0,
        rms_norm_eps=0.05,
        tie_word_embeddings=not untied,
    )
    model = lively_model(2, config)
    engine = Engine(model, EngineConfig(slots=2, bucket=16))
    for sample in engine.generate(greedy([(1, 2, 3), (5,) * 20], tokens=6)):
        assert list(sample.ids) == naive_greedy(model, sample.prompt_ids, 6)[0]


def test_requests_are_unaffected_by_neighbours_slots_and_chunks() -> None:
    model, requests = lively_model(), mixed_requests()
    alone = [Engine(model, EngineConfig(slots=1, bucket=64)).generate([request])[0] for request in requests]
    for config in (
        EngineConfig(slots=4, bucket=8),
        EngineConfig(slots=32, bucket=16, prefill_tokens=7),
        EngineConfig(slots=5, bucket=1, prefill_tokens=1),
    ):
        same(Engine(model, config).generate(requests), alone)
        same(Engine(model, config).generate(requests[::-1])[::-1], alone)


def test_seeds_repeat_and_differ() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=8))
    requests = [Request((1, 2, 3), Sampling(max_tokens=20), seed) for seed in (7, 7, 8, -1, 2**70)]
    first, again = engine.generate(requests), engine.generate(requests)
    same(first, again)
    assert first[0].ids == first[1].ids
    assert len({s.ids for s in first}) == 4


def test_sampled_tokens_follow_the_models_distribution() -> None:
    model = lively_model()
    engine = Engine(model, EngineConfig(slots=64))
    count = 4000
    samples = engine.generate([Request((4, 9), Sampling(max_tokens=1, temperature=1.5), seed) for seed in range(count)])
    with torch.no_grad():
        expected = torch.softmax(model.logits(model(torch.tensor([[4, 9]])))[0, -1] / 1.5, -1).numpy()
    seen = np.bincount([s.ids[0] for s in samples], minlength=V) / count
    # the standard error of each frequency is sqrt(p (1 - p) / n); 5 of them for 150 ids
    assert (np.abs(seen - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-3).all()


def test_logprobs_are_the_forwards_at_the_temperature_before_truncation() -> None:
    model = lively_model()
    sampling = Sampling(max_tokens=8, temperature=0.6, top_k=3, repetition_penalty=1.5)
    sample = Engine(model, EngineConfig(slots=2)).generate([Request((3, 1, 4), sampling, 5)])[0]
    whole = (*sample.prompt_ids, *sample.ids)
    with torch.no_grad():
        scores = (model.logits(model(torch.tensor([whole])))[0] / 0.6).log_softmax(-1)
    expected = [float(scores[i - 1, whole[i]]) for i in range(3, len(whole))]
    np.testing.assert_allclose(sample.logprobs, expected, atol=1e-4)


def test_score_equals_what_was_written_and_the_forward() -> None:
    model = lively_model()
    engine = Engine(model, EngineConfig(slots=3, prefill_tokens=32))
    samples = engine.generate([Request(p, Sampling(max_tokens=9), i) for i, p in enumerate(ragged_prompts())])
    scores = engine.score_many([(s.prompt_ids, s.ids) for s in samples] + [((1,), ())])
    for sample, score in zip(samples, scores, strict=False):
        np.testing.assert_allclose(score, sample.logprobs, atol=1e-4)
        assert engine.score(sample.prompt_ids, sample.ids) == pytest.approx(score, abs=1e-4)
    assert scores[-1] == []
    assert engine.num_free == 3


def test_a_long_text_is_scored_in_parts_as_it_is_whole() -> None:
    scaling = RopeScaling("dynamic", factor=4.0, original_max_position_embeddings=16)
    for config in (CONFIG, dataclasses.replace(CONFIG, rope_scaling=scaling)):
        model = lively_model(0, config)
        whole, parts = (Engine(model, EngineConfig(slots=1, prefill_tokens=n)) for n in (64, 3))
        for prompt, ids in (
            ((4,), tuple(range(50))),
            (tuple(range(30)), (1, 2, 3)),
            (tuple(range(45)), tuple(range(9))),
        ):
            np.testing.assert_allclose(parts.score(prompt, ids), whole.score(prompt, ids), atol=1e-5)


def test_stop_ids_end_a_sample_and_stay_in_it() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2))
    free = engine.generate([Request((2, 7), Sampling(max_tokens=20, temperature=0))])[0]
    stop_id = free.ids[4]
    first = free.ids.index(stop_id)
    options = Sampling(max_tokens=20, temperature=0, stop_ids=(V - 1, stop_id))
    stopped = engine.generate([Request((2, 7), options), Request((2, 7), Sampling(max_tokens=20, temperature=0))])
    assert stopped[0].ids == free.ids[: first + 1] and stopped[0].stop == "stop"
    assert stopped[1].ids == free.ids and stopped[1].stop == "length"


def test_prompt_and_answer_fill_a_slot_and_no_more() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2, length=16, bucket=5))
    sample = engine.generate([Request((1,) * 10, Sampling(max_tokens=100))])[0]
    assert len(sample.ids) == 6 and sample.stop == "length"


def test_requests_that_can_never_run_are_refused_at_the_door() -> None:
    model = lively_model()
    engine = Engine(model, EngineConfig(slots=2, length=16))
    for prompt, reason in (((), "no tokens"), ((1,) * 16, "16 positions"), ((V,), "vocabulary"), ((-1,), "vocabulary")):
        with pytest.raises(ConfigError, match=reason):
            engine.submit(Request(prompt))
        with pytest.raises(ConfigError, match=reason):
            engine.generate([Request((1,)), Request(prompt)])
    assert engine.num_waiting == 0 and engine.step() == []
    with pytest.raises(ConfigError, match="float16"):
        EngineConfig(dtype="float16")
    with pytest.raises(ConfigError, match="64 positions"):
        Engine(model, EngineConfig(length=65))
    with pytest.raises(ConfigError, match="to score"):
        engine.score((1,) * 60, (2,) * 10)


def test_events_tell_the_whole_sample_and_how_it_was_drawn() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=3, prefill_tokens=4))
    requests = mixed_requests()
    expected = engine.generate(requests)
    numbers = [engine.submit(request, num_alternatives=2) for request in requests]
    events = []
    while engine.num_live or engine.num_waiting:
        events += engine.step()
        assert engine.num_free + engine.num_live == 3
    for number, request, sample in zip(numbers, requests, expected, strict=True):
        mine = [event for event in events if event.request == number]
        assert [event.n for event in mine] == list(range(len(mine)))
        assert [event.position - event.n for event in mine] == [len(request.prompt_ids)] * len(mine)
        assert tuple(event.id for event in mine) == sample.ids
        assert [event.stop for event in mine[:-1]] == [""] * (len(mine) - 1)
        assert mine[-1].sample is not None and mine[-1].sample.ids == sample.ids and mine[-1].stop == sample.stop
        for event in mine:
            roll = uniforms(np.array([request.seed], np.uint64), np.array([event.n]))[0]
            assert event.uniform == (roll if request.sampling.temperature else None)
            (best, most), (_, less) = event.alternatives
            assert most >= less
            if event.uniform is None:
                assert best == event.id and most == pytest.approx(event.logprob, abs=1e-4)


def test_generate_and_step_can_be_mixed() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2))
    request = Request((5, 6), Sampling(max_tokens=6), 3)
    number = engine.submit(request)
    first = engine.step()
    sample = engine.generate([request])[0]
    events = first + engine.step()
    assert [e.request for e in events] == [number] * 6
    assert tuple(e.id for e in events) == sample.ids


def test_cancel_frees_the_slot_and_keeps_what_was_written() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=1))
    live, waiting = (engine.submit(Request((1, 2), Sampling(max_tokens=30), seed)) for seed in (0, 1))
    engine.step()
    engine.step()
    assert (engine.num_live, engine.num_waiting, engine.num_free) == (1, 1, 0)
    never = engine.cancel(waiting)
    assert never is not None and never.ids == () and never.stop == "cancelled"
    half = engine.cancel(live)
    assert half is not None and half.stop == "cancelled" and 2 <= len(half.ids) == len(half.logprobs) < 30
    assert engine.cancel(live) is None and engine.num_free == 1 and engine.step() == []
    whole = engine.generate([Request((1, 2), Sampling(max_tokens=30), 0)])[0]
    assert whole.ids[: len(half.ids)] == half.ids


def test_cancelling_the_reader_of_a_shared_prompt_leaves_its_followers_whole() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=3, prefill_tokens=4, reuse=0))
    prompt = tuple(range(20))
    requests = [Request(prompt, Sampling(max_tokens=5), seed) for seed in range(3)]
    expected = engine.generate(requests)
    numbers = [engine.submit(request) for request in requests]
    engine.step()  # the first 4 tokens are read
    engine.cancel(numbers[0])
    events = []
    while engine.num_live:
        events += engine.step()
    for number, sample in zip(numbers[1:], expected[1:], strict=True):
        assert tuple(e.id for e in events if e.request == number) == sample.ids


def test_leaving_a_stream_cancels_its_request_and_keeps_others_events() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2))
    other = engine.submit(Request((8,), Sampling(max_tokens=4), 1))
    stream = engine.stream(Request((9,), Sampling(max_tokens=50), 2))
    assert [next(stream).n for _ in range(10)] == list(range(10))
    stream.close()
    assert engine.num_live == 0
    assert [e.n for e in engine.step() if e.request == other] == [0, 1, 2, 3]


def test_a_mask_decides_what_may_be_written() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2))
    seen: list[list[int]] = []

    def rising(ids: list[int]) -> np.ndarray | None:
        seen.append(ids)
        return np.arange(V) > ids[-1] if ids else None

    number = engine.submit(Request((3,), Sampling(max_tokens=5, temperature=0.5), 1), allowed=rising)
    free = engine.submit(Request((3,), Sampling(max_tokens=5, temperature=0.5), 1))
    events = []
    while engine.num_live or engine.num_waiting:
        events += engine.step()
    ids = [e.id for e in events if e.request == number]
    assert ids == sorted(set(ids)) and seen == [ids[:n] for n in range(5)]
    unbound = engine.generate([Request((3,), Sampling(max_tokens=5, temperature=0.5), 1)])[0]
    assert tuple(e.id for e in events if e.request == free) == unbound.ids


def test_a_mask_that_allows_nothing_names_its_request_and_harms_no_neighbour() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2))
    request = Request((3, 4), Sampling(max_tokens=6), 1)
    expected = engine.generate([request])[0]
    good = engine.submit(request)
    bad = engine.submit(Request((5,), Sampling(max_tokens=6)), allowed=lambda ids: np.zeros(V, bool) if ids else None)
    with pytest.raises(ValueError, match=f"request {bad} "):
        engine.step()
    engine.cancel(bad)
    events = []
    while engine.num_live:
        events += engine.step()
    assert tuple(e.id for e in events if e.request == good) == expected.ids


def test_load_changes_the_output_and_the_version() -> None:
    model, other = lively_model(0), lively_model(1)
    engine = Engine(model, EngineConfig(slots=4))
    requests = greedy(ragged_prompts())
    before = engine.generate(requests)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()  # the engine's weights are its own
    same(engine.generate(requests), before)
    engine.load(other.state_dict(), 3)
    after = engine.generate(requests)
    assert [s.ids for s in after] != [s.ids for s in before]
    same(after, Engine(other, EngineConfig(slots=4)).generate(requests))
    assert {s.weights_version for s in before} == {0} and {s.weights_version for s in after} == {3}


def test_bfloat16_writes_nearly_the_same_distribution() -> None:
    model = lively_model()
    exact, rough = (Engine(model, EngineConfig(slots=4, dtype=dtype)) for dtype in ("float32", "bfloat16"))
    pairs = [(p, tuple(range(10, 20))) for p in ragged_prompts()]
    difference = np.array(exact.score_many(pairs)) - np.array(rough.score_many(pairs))
    assert 1e-5 < np.abs(difference).mean() < 0.15
    samples = rough.generate([Request(p, Sampling(max_tokens=8), 1) for p in ragged_prompts()])
    scores = rough.score_many([(s.prompt_ids, s.ids) for s in samples])
    assert np.abs(np.array(scores) - np.array([s.logprobs for s in samples])).mean() < 0.15


def test_the_fast_numbers_are_those_that_this_processor_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    from jielong.generate import config

    cpu, dense = torch.device("cpu"), CONFIG
    experts = dataclasses.replace(dense, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)

    def fast(shape: ModelConfig, weights: str | None = None) -> tuple[str, str]:
        chosen = EngineConfig.fast(shape, cpu, weights, slots=3)
        assert chosen.slots == 3
        return chosen.dtype, chosen.weights

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert fast(dense) == ("bfloat16", "")
    assert fast(dense, "float32") == ("float32", "float32")
    assert fast(dense, "int8") == ("bfloat16", "int8")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(config, "library", lambda: object())
    assert fast(dense) == ("float32", "bfloat16")
    assert fast(experts) == ("float32", "float32")
    assert fast(dense, "int8") == ("float32", "int8")
    assert fast(dense, "bfloat16") == ("float32", "bfloat16")
    monkeypatch.setattr(config, "library", lambda: None)
    assert fast(dense) == ("float32", "float32")

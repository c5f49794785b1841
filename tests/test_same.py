"""Engine and trainer say the same: the whole next-token distribution of each token written, and the faults that it finds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from bench.alignment.same import (
    BOUND,
    COMPANIES,
    WAYS,
    Company,
    Gap,
    Way,
    compare,
    engine_for,
    requests_of,
    write,
)
from torch import Tensor

from jielong.data.batches import Batch
from jielong.generate import native
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Request, Sampling

V = 96
CONFIG = ModelConfig(
    vocab_size=V,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=320,
    initializer_range=0.15,
)
WINDOWS = dataclasses.replace(CONFIG, sliding_window=9, sliding_layers=(1,))
EXACT = [way for way in WAYS if way.is_exact]
ROLLOUT, SERVER = COMPANIES


def model_of(config: ModelConfig = CONFIG) -> LanguageModel:
    return fresh_language_model(config, seed=1).eval()


def prompts(count: int = 20) -> list[tuple[int, ...]]:
    """Ragged prompts, some of which begin alike; one is too long to be read by the C++ alone."""
    random = np.random.default_rng(3)
    found = [tuple(random.integers(0, V, size).tolist()) for size in random.integers(1, 40, count)]
    start = tuple(random.integers(0, V, 40).tolist())
    for place in range(0, count, 4):
        found[place] = (*start, *found[place][:5], *(7, 8, 9) * 3)
    return [tuple(random.integers(0, V, 290).tolist()), *found]


def gap_of(way: Way, company: Company, model: LanguageModel, **changes: Any) -> tuple[Gap, Engine]:
    """Write in this way, and compare; `changes` are those of the engine's model."""
    if way.is_native and native.library() is None:
        pytest.skip("there is no C++ here")
    written_by = model
    if changes:
        written_by = LanguageModel(dataclasses.replace(model.config, **changes))
        written_by.load_state_dict(model.state_dict())
    engine = engine_for(written_by, way, company, suppressed=(2, 3))
    written = write(engine, requests_of(prompts(), 12, (5,)), gives_up=company.gives_up)
    return compare(model, written), engine


@pytest.mark.parametrize("config", [CONFIG, WINDOWS], ids=["whole", "windows"])
@pytest.mark.parametrize("company", COMPANIES, ids=lambda company: company.name)
@pytest.mark.parametrize("way", EXACT, ids=lambda way: way.name)
def test_the_whole_distribution_is_the_trainers_at_every_token(way: Way, company: Company, config: ModelConfig) -> None:
    gap, engine = gap_of(way, company, model_of(config))
    assert gap.tokens > 100 and sorted(gap.largest_at) == [0.3, 0.7, 1.0, 1.3]
    assert gap.largest <= BOUND
    assert gap.yardstick <= 1e-6
    if company is SERVER:
        assert engine.counts.reused > 100 and engine.counts.accepted > 0 and engine.counts.drafted > 20


@pytest.mark.parametrize("way", [way for way in WAYS if way not in EXACT], ids=lambda way: way.name)
def test_narrow_numbers_stay_near(way: Way) -> None:
    model = model_of()
    model.model.compute_dtype = way.trainer
    gap, _ = gap_of(way, ROLLOUT, model)
    assert 10 * BOUND < gap.largest < 0.1 and gap.mean < 0.01


@pytest.mark.parametrize("way", EXACT, ids=lambda way: way.name)
def test_a_mask_that_differs_is_found(way: Way) -> None:
    gap, _ = gap_of(way, ROLLOUT, model_of(WINDOWS), sliding_window=10)  # one key more
    assert gap.largest > 100 * BOUND


@pytest.mark.parametrize("way", EXACT, ids=lambda way: way.name)
def test_a_position_that_differs_is_found(way: Way) -> None:
    model = model_of()
    if way.is_native and native.library() is None:
        pytest.skip("there is no C++ here")
    engine = engine_for(model, way, ROLLOUT)
    turns = engine._model.turns["global"]  # the C++ reads the same memory
    turns[50:] = turns[49:-1].clone()  # from the 50th token on, each is one place too early
    assert compare(model, write(engine, requests_of(prompts(), 12, (5,)))).largest > 100 * BOUND


def test_a_temperature_that_differs_is_found() -> None:
    model = model_of()
    written = write(Engine(model), requests_of(prompts(), 12, (5,)))
    assert compare(model, written).largest <= BOUND
    warmer = [dataclasses.replace(one, temperature=1.01 * one.temperature) for one in written]
    assert compare(model, warmer).largest > 100 * BOUND


def counted_over_padding(model: LanguageModel, batch: Batch) -> Tensor:
    """Read with positions that end where the row does, as if padding on the left were counted."""
    missing = (batch.segments == 0).sum(1, keepdim=True)
    shifted = torch.where(batch.positions >= 20, batch.positions + missing.clamp(max=3), batch.positions)
    return model(batch.inputs, shifted, batch.segments)


def first_token_hidden(model: LanguageModel, batch: Batch) -> Tensor:
    """Read with the first token in a segment of its own."""
    segments = torch.where(batch.positions > 0, batch.segments * 2, batch.segments)
    return model(batch.inputs, batch.positions, segments)


@pytest.mark.parametrize("read", [counted_over_padding, first_token_hidden])
def test_a_fault_of_the_trainers_reading_is_found(read: Any) -> None:
    model = model_of()
    written = write(Engine(model), requests_of(prompts(), 12, (5,)))
    assert compare(model, written).largest <= BOUND
    assert compare(model, written, read).largest > 100 * BOUND


def test_old_weights_are_found() -> None:
    model = model_of()
    engine = Engine(model)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(1.01)
    requests = requests_of(prompts(), 12, (5,))
    assert compare(model, write(engine, requests)).largest > 10 * BOUND
    engine.load(model.state_dict(), 1)
    assert compare(model, write(engine, requests)).largest <= BOUND


def test_every_token_is_watched_once_and_at_its_requests_temperature() -> None:
    engine, seen = Engine(model_of(), EngineConfig(slots=2)), []
    engine.watch = lambda request, place, logprobs: seen.append((request, place, logprobs))
    requests = [
        Request((4, 9, 4), Sampling(max_tokens=6, temperature=t), seed=n) for n, t in enumerate((0.5, 1.0, 0.0))
    ]
    samples = engine.generate(requests)
    for request, sample in zip(requests, samples, strict=True):
        mine = [(place, logprobs) for who, place, logprobs in seen if who is request]
        assert [place for place, _ in mine] == list(range(len(sample.ids)))
        found = [float(logprobs[id]) for (_, logprobs), id in zip(mine, sample.ids, strict=True)]
        assert found == pytest.approx(sample.logprobs, abs=1e-5)
        assert all(float(logprobs.exp().sum()) == pytest.approx(1.0, abs=1e-5) for _, logprobs in mine)

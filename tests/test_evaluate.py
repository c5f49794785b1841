"""How sure a difference is, and bits per byte that do not depend on where a text is cut."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from jielong.errors import DataError
from jielong.evaluate.held_out import bits_per_byte
from jielong.evaluate.statistics import paired_bootstrap, win_rate
from jielong.evaluate.task_runner import read_results
from jielong.generate import Engine, EngineConfig
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Conversation, Message, Sampling
from jielong.tokens import TokenizerConfig, train_tokenizer
from jielong.use.port import LocalPort

TEXTS = ["question x", "The capital of France is Paris. " * 6, "法国的首都是巴黎。" * 8, "a", ""]


@pytest.fixture(scope="module")
def port() -> LocalPort:
    tokenizer = train_tokenizer(TEXTS * 3, TokenizerConfig(vocab_size=400))
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=32,
    )  # fmt: skip
    return LocalPort(Engine(fresh_language_model(config, 0), EngineConfig(slots=4, dtype="float32")), tokenizer)


def test_bits_per_byte_equals_the_sum_worked_out_token_by_token(port):
    text = TEXTS[2][:20]
    ids = port.tokenizer.encode(text)
    model = fresh_language_model(port.engine.model_config, 0)
    with torch.no_grad():
        logprobs = model.logits(model(torch.tensor([ids]))).float().log_softmax(-1)[0]
    nats = -sum(float(logprobs[t, ids[t + 1]]) for t in range(len(ids) - 1))
    num_bytes = len(text.encode()) - len(port.tokenizer.token_bytes(ids[0]))
    assert bits_per_byte(port, [text]) == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-4)


def test_a_text_longer_than_the_model_is_read_whole(port):
    text = "The capital of France is Paris. " * 40
    ids = port.tokenizer.encode(text)
    assert len(ids) > 3 * port.engine.length
    ((_, num_bytes),) = port.score_many([text])
    assert num_bytes == len(text.encode()) - len(port.tokenizer.token_bytes(ids[0]))


def test_an_untrained_model_needs_about_log2_of_the_vocabulary_per_token(port):
    text = TEXTS[1]
    total, _ = port.score_many([text])[0]
    per_token = -total / (len(port.tokenizer.encode(text)) - 1) / math.log(2)
    assert per_token == pytest.approx(math.log2(port.tokenizer.vocab_size), rel=0.02)


def test_answers_do_not_depend_on_their_neighbours(port):
    talks = [Conversation((Message("user", "question " + "x" * i),)) for i in range(4)]
    sampling = Sampling(max_tokens=6, temperature=1.0)
    together = port.ask_many(talks, sampling, seed=3)
    alone = port.ask_many(talks[:1], sampling, seed=3)
    assert together[0].sample.ids == alone[0].sample.ids
    assert together[0].usage.prompt_tokens < together[3].usage.prompt_tokens


def test_bootstrap_covers_the_true_gain_as_often_as_it_says():
    """400 experiments with a true gain of 0.3: about 95% of the intervals hold it (binomial bounds 91% to 98%)."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        old = rng.normal(size=60)
        new = old + 0.3 + rng.normal(size=60)
        interval = paired_bootstrap(new, old, draws=400, seed=trial)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


def test_bootstrap_of_equal_systems_does_not_exclude_zero():
    assert not paired_bootstrap([1, 0, -1, 1], [1, 0, -1, 1]).excludes_zero
    assert paired_bootstrap([1.0] * 30, [0.0] * 30).excludes_zero


def test_win_rate_counts_ties_half():
    assert win_rate([1, 0, 0, -1], [0, 0, 1, -1]) == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)


@pytest.mark.parametrize(
    "change",
    [
        *({"id": value} for value in (3, None, ["a"])),
        *({"sample": value} for value in ("0", -1, True, 10**30)),
        *({"score": value} for value in ("1", None, 10**400)),
        *({"usage": value} for value in (3, {"calls": "x"}, {"other": 1})),
        *({"details": value} for value in (3, [])),
        *({"item": value} for value in (3, None)),
        {"other": 1},
    ],
)
def test_a_kept_result_of_another_shape_is_told_with_its_line(tmp_path, change):
    right = {"id": "1", "sample": 0, "score": 1.0, "question": "?", "item": "a" * 32}
    file = tmp_path / "results.jsonl"
    file.write_text(f"{json.dumps(right)}\n{json.dumps(right | change)}\n")
    with pytest.raises(DataError, match=r"results\.jsonl:2: .*; delete the line to ask again"):
        read_results(file)

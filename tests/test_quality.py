"""What rounded weights cost is measured on the same text, and nothing where nothing was rounded."""

from __future__ import annotations

import math

import pytest
import torch

from jielong.evaluate.quality import compare, own_text, windows
from jielong.generate import Engine, EngineConfig
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Request, Sampling
from jielong.tokens import TokenizerConfig, train_tokenizer

TEXT = "The capital of France is Paris. 法国的首都是巴黎。" * 12
TOKENIZER = train_tokenizer([TEXT], TokenizerConfig(vocab_size=340))
CONFIG = ModelConfig(TOKENIZER.vocab_size, 32, 48, 2, 4, 2, 16, 48)


def lively(seed: int) -> LanguageModel:
    model = fresh_language_model(CONFIG, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model


def engine(seed: int, weights: str = "") -> Engine:
    return Engine(lively(seed), EngineConfig(slots=4, weights=weights))


def test_weights_against_themselves_cost_nothing():
    pairs = own_text(engine(0), TOKENIZER, rows=6)
    found = compare(engine(0), engine(0), pairs, TOKENIZER)
    assert found.before == pytest.approx(found.after, rel=1e-6) and found.agreement == 1.0
    assert found.num_tokens == sum(len(ids) for _, ids in pairs) > 20


def test_int8_costs_little_and_other_weights_much():
    pairs = own_text(engine(0), TOKENIZER, rows=6)
    little = compare(engine(0), engine(0, "int8"), pairs, TOKENIZER)
    assert 0.9 < little.agreement <= 1.0
    assert 0.0 < abs(little.after / little.before - 1) < 0.03
    much = compare(engine(0), engine(1), pairs, TOKENIZER)
    assert much.agreement < 0.5
    # on its own text a model needs the fewest bits: the rest is the divergence
    assert much.after > 1.05 * much.before


def test_bits_are_those_of_the_training_module():
    ((given, judged),) = windows(TEXT, TOKENIZER, 40, 40)
    model = lively(0)
    with torch.no_grad():
        hidden = model(torch.tensor([[*given, *judged]]))
        table = model.logits(hidden)[0].log_softmax(-1)
    bits = -sum(float(table[i, id]) for i, id in enumerate(judged)) / math.log(2)
    num_bytes = len(TOKENIZER.decode_bytes(judged))
    found = compare(engine(0), engine(0), [(given, judged)], TOKENIZER)
    assert found.before == pytest.approx(bits / num_bytes, rel=1e-4)


def test_windows_hold_every_token_once():
    ids = TOKENIZER.encode(TEXT)[:100]
    pairs = windows(TEXT, TOKENIZER, 16, 100)
    assert [id for given, judged in pairs for id in (*given, *judged)] == list(ids)
    assert all(len(given) == 1 and len(judged) <= 15 for given, judged in pairs)


def test_likeliest_means_what_greedy_writes():
    with_it = engine(0)
    ((prompt, ids), *_) = own_text(with_it, TOKENIZER)
    assert not all(with_it.are_likeliest([(prompt, ids)])[0])
    (sample,) = with_it.generate([Request(prompt, Sampling(max_tokens=20, temperature=0))])
    assert all(with_it.are_likeliest([(prompt, sample.ids)])[0])

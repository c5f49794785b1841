"""Models on one question and runs side by side: what is said of their differences is true."""

from __future__ import annotations

import math

import pytest
import torch

from jielong.cli.compare import is_model
from jielong.evaluate.statistics import wilson
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.together import ModelToAsk, ask_all, divergences
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.stages.accounts import Account, _interval_of_shares, compare_accounts
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

TOKENIZER = train_tokenizer(["what is the capital of France? 法国的首都是巴黎\n"] * 4, TokenizerConfig(vocab_size=400))
OTHER = train_tokenizer(["something else entirely\n"] * 4, TokenizerConfig(vocab_size=380))


def engine(seed: int, vocab_size: int = 400) -> Engine:
    config = ModelConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
    )
    return Engine(fresh_language_model(config, seed), EngineConfig(slots=1))


def asked(name: str, seed: int, tokenizer=TOKENIZER, *, is_bare: bool = False) -> ModelToAsk:
    return ModelToAsk(name, lambda: (engine(seed, tokenizer.vocab_size), tokenizer), is_bare)


def test_the_distributions_along_an_answer_are_those_that_score_it():
    one, prompt, ids = engine(1), (5, 70, 80), (90, 100, 3)
    rows = one.distributions(prompt, ids)
    assert rows.shape == (3, 400)
    assert rows.exp().sum(-1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert rows.gather(1, torch.tensor(ids)[:, None]).squeeze(1).tolist() == pytest.approx(one.score(prompt, ids))


def test_the_divergence_is_the_one_worked_by_hand_and_zero_of_the_same():
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.5 ln 2 + 0.5 ln 2/3
    assert divergences(p, q) == pytest.approx([0.5 * math.log(2) + 0.5 * math.log(2 / 3)])
    assert divergences(p, p) == [0.0]


def test_the_last_model_reads_its_own_answer_as_it_wrote_it_and_others_read_it_too():
    told = ask_all([asked("a", 1, is_bare=True), asked("b", 2)], "what is?", max_tokens=4, num_likeliest=3)
    first, last = told
    assert [one.name for one in told] == ["a", "b"] and first.is_bare and not last.is_bare
    assert last.reading is not None and first.reading is not None
    wrote = [math.log(step.probability) for step in last.steps]
    assert list(last.reading.logprobs) == pytest.approx(wrote, abs=1e-4)
    assert last.reading.divergences == pytest.approx([0.0] * 4, abs=1e-6)
    assert min(first.reading.divergences) > 0 and len(first.reading.logprobs) == len(last.steps)
    for step in last.steps:
        assert step.likeliest[0] == (step.token, pytest.approx(step.probability, rel=1e-4)) and len(step.likeliest) == 3


def test_a_model_with_other_tokens_is_asked_and_not_set_beside_the_answer():
    told = ask_all([asked("a", 1, OTHER), asked("b", 2)], "what is?", max_tokens=2, num_likeliest=2)
    assert told[0].reading is None and told[0].steps and told[1].reading is not None


def test_the_bounds_of_two_shares_are_those_of_newcombe():
    # Newcombe 1998, table II, (a): 56 of 70 against 48 of 80, method 10
    low, high = _interval_of_shares(wilson(48, 80), wilson(56, 70))
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    low, high = _interval_of_shares(wilson(0, 40), wilson(0, 40))
    assert low < 0 < high  # resampling would give no width at all


def test_runs_of_the_same_exam_are_paired_and_others_are_not():
    def account(name: str, hits: list[float], exam: tuple[str, ...]) -> Account:
        measures = {"sft": {"invention_rate": sum(hits) / len(hits), "bits_per_byte": 1.0}}
        return Account(name, {"seed": "0"}, {}, 0, measures, {"sft": {"invention_rate": hits}}, exam)

    a, b = account("a", [1.0] * 6 + [0.0] * 4, ("q",)), account("b", [1.0] * 5 + [0.0] * 5, ("q",))
    paired, other = compare_accounts(a, b), compare_accounts(a, account("b", [1.0] * 5 + [0.0] * 5, ("r",)))
    (inventions, bits), (apart, _) = paired.measures, other.measures
    assert (inventions.low, bits.low) == (pytest.approx(-0.3), None)
    assert inventions.high == 0.0  # one question of ten changed, and only to the better
    assert apart.low is not None and apart.low < inventions.low and apart.high > 0.2
    assert "pair by pair" in paired.how_sure and "questions differ" in other.how_sure


def test_a_question_is_told_from_a_run_or_model(tmp_path):
    assert is_model(str(tmp_path))
    for question in ("What is the capital of France?", "法国的首都是哪里？", "a:b", "x" * 5000):
        assert not is_model(question)

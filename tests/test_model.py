"""The decoder: equal to transformers, blind across documents, and itself after a save and a load."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from jielong.errors import CheckpointError, ConfigError
from jielong.model import hf
from jielong.model.presets import PRESETS, num_parameters, preset
from jielong.model.transformer import (
    LanguageModel,
    ModelConfig,
    ScalarModel,
    fresh_language_model,
    scalar_from_language_model,
)

TINY = ModelConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
)


@pytest.fixture
def model() -> LanguageModel:
    return fresh_language_model(TINY, seed=3)


def ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, TINY.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_language_model_has_equal_logits_in_transformers(tmp_path, tied):
    transformers = pytest.importorskip("transformers")
    ours = fresh_language_model(dataclasses.replace(TINY, tie_word_embeddings=tied), seed=1)
    for layer in ours.model.layers:  # norms other than one, or a forgotten norm weight would not show
        torch.nn.init.uniform_(layer.self_attn.q_norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(layer.input_layernorm.weight, 0.5, 1.5)
    hf.save(ours, tmp_path, eos_token_id=3, pad_token_id=1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    inputs = ids(3, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours(inputs)), theirs(inputs).logits, rtol=1e-4, atol=1e-5)


def test_saved_reward_model_has_equal_scores_in_transformers(tmp_path, model):
    transformers = pytest.importorskip("transformers")
    ours = scalar_from_language_model(model, seed=2)
    hf.save(ours, tmp_path, eos_token_id=3, pad_token_id=1)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    inputs = ids(2, 20).clamp_min(4)
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs)[:, -1], theirs(inputs).logits[:, 0], rtol=1e-4, atol=1e-5)


def test_packed_documents_do_not_see_each_other(model):
    first, second = ids(1, 10), ids(1, 14).flip(1)
    packed = torch.cat([first, second], dim=1)
    segments = torch.tensor([[1] * 10 + [2] * 14])
    positions = torch.cat([torch.arange(10), torch.arange(14)])[None]
    with torch.no_grad():
        together = model(packed, positions, segments)
        torch.testing.assert_close(together[:, :10], model(first), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together[:, 10:], model(second), rtol=1e-5, atol=1e-5)


def test_a_token_does_not_see_its_future(model):
    inputs = ids(1, 12)
    changed = inputs.clone()
    changed[0, 7] = (changed[0, 7] + 1) % TINY.vocab_size
    with torch.no_grad():
        before, after = model(inputs), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_save_and_load_give_the_same_model_and_offset(tmp_path, model):
    scalar = scalar_from_language_model(model, seed=5)
    scalar.reward_offset = 0.75
    hf.save(scalar, tmp_path, eos_token_id=3, pad_token_id=1)
    again = hf.load(tmp_path)
    assert isinstance(again, ScalarModel)
    with torch.no_grad():
        assert torch.equal(again(ids(2, 9)), scalar(ids(2, 9)))


def test_bf16_products_stay_close_to_float32(model):
    inputs = ids(2, 30)
    with torch.no_grad():
        full = model.logits(model(inputs))
        model.model.compute_dtype = torch.bfloat16
        half = model.logits(model(inputs)).float()
    assert (full - half).abs().max() < 0.05 * full.abs().max()
    assert not torch.equal(full, half)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "llama"}, "llama"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"hidden_sizes": 3}, "did you mean 'hidden_size'"),
        ({"vocab_size": 98}, "embed_tokens"),
    ],
)
def test_a_checkpoint_that_would_compute_something_else_is_refused(tmp_path, model, change, told):
    hf.save(model, tmp_path, eos_token_id=3, pad_token_id=1)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=told):
        hf.load(tmp_path)


def test_cut_weights_are_refused_in_one_sentence(tmp_path, model):
    hf.save(model, tmp_path, eos_token_id=3, pad_token_id=1)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        hf.load(tmp_path)


def test_parameter_count_of_a_preset_is_that_of_the_model():
    for name in ("1m", "s", "m"):
        with torch.device("meta"):
            model = LanguageModel(PRESETS[name])
        assert sum(p.numel() for p in model.parameters()) == num_parameters(PRESETS[name]), name


@pytest.mark.parametrize(
    ("name", "published"),
    [("gpt1", 117e6), ("gpt2", 124e6), ("gpt2-xl", 1.558e9), ("gpt3-6.7b", 6.7e9), ("gpt3", 175e9)],
)
def test_published_shapes_have_the_published_size(name, published):
    assert abs(num_parameters(PRESETS[name]) / published - 1) < 0.05


def test_an_unknown_preset_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'gpt2-medium'"):
        preset("gpt2-medum")

"""The decoder: equal to transformers, blind across documents, and itself after a save and a load."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jielong.errors import CheckpointError, ConfigError
from jielong.model import hf
from jielong.model.presets import PRESETS, flops_per_token, num_parameters, preset
from jielong.model.rotary import _scaled, rotary_tables, rotate
from jielong.model.transformer import (
    Embedding,
    LanguageModel,
    Linear,
    ModelConfig,
    RMSNorm,
    RopeScaling,
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
        ({"model_type": "mamba"}, "'mamba' model; this version opens gemma3_text, gpt2, llama"),
        ({"model_type": "llama"}, "unknown field 'use_sliding_window'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"hidden_sizes": 3}, "did you mean 'hidden_size'"),
        ({"vocab_size": 98}, "embed_tokens"),
        ({"num_hidden_layers": 3}, r"lacks the tensor 'model.layers.2.input_layernorm.weight'"),
        ({"num_hidden_layers": 1}, r"holds the tensor 'model.layers.1.\S+', for which"),
        ({"hidden_size": "wide"}, 'hidden_size = "wide"; expected a whole number'),
        ({"rms_norm_eps": True}, "rms_norm_eps = true; expected a finite number"),
        ({"num_attention_heads": 3}, "not a multiple"),
        ({"quantization_config": {"bits": 4}}, "'quantization_config'"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_type 'longrope'"),
        ({"rope_scaling": {"type": "linear"}}, "rotary scaling of .* lacks the field 'factor'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "short_factor": []}}, "unknown field 'short_factor'"),
        ({"rope_scaling": {"type": "yarn", "factor": 0.5}}, "factor = 0.5; expected a finite number from 1"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
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


def test_weights_that_nobody_can_read_are_refused_by_name(tmp_path, model):
    hf.save(model, tmp_path, eos_token_id=3, pad_token_id=1)
    file, index = tmp_path / "model.safetensors", tmp_path / "model.safetensors.index.json"
    tensors = load_file(file)
    save_file(tensors | {"model.norm.weight": tensors["model.norm.weight"].to(torch.int8)}, file)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is of type I8"):
        hf.load(tmp_path)
    file.rename(tmp_path / "one.safetensors")
    for text, told in (
        ('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}', "two.safetensors of its index is missing"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"weight', "damaged"),
    ):
        index.write_text(text)
        with pytest.raises(CheckpointError, match=told):
            hf.load(tmp_path)
    index.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is not read here"):
        hf.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"qk_norm": False}, "a qwen3 checkpoint cannot say qk_norm = False"),
        ({"output_bias": True}, "output_bias"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({"model_type": "mistral", "qk_norm": False, "sliding_window": 4, "sliding_layers": (1,)}, "sliding_layers"),
    ],
)
def test_a_shape_that_no_file_can_say_is_not_written(tmp_path, change, told):
    with pytest.raises(ConfigError, match=told):
        hf.save(LanguageModel(dataclasses.replace(TINY, **change)), tmp_path, eos_token_id=3, pad_token_id=1)
    assert not list(tmp_path.iterdir())


def test_a_saved_file_may_be_written_over_while_its_model_lives(tmp_path, model):
    hf.save(model, tmp_path, eos_token_id=3, pad_token_id=1)
    again = hf.load_language_model(tmp_path)
    hf.save(fresh_language_model(TINY, seed=4), tmp_path, eos_token_id=3, pad_token_id=1)
    assert torch.equal(again.model.embed_tokens.weight, model.model.embed_tokens.weight)


def test_experts_compute_what_each_token_would_alone():
    config = dataclasses.replace(
        TINY, model_type="qwen3_moe", num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12
    )
    mlp = fresh_language_model(config, seed=1).model.layers[0].mlp
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros_like(x)
    for place in np.ndindex(2, 7):
        shares, chosen = torch.softmax(mlp.gate(x[place]), -1).topk(2)
        expected[place] = sum(s / shares.sum() * mlp.experts[e](x[place]) for s, e in zip(shares, chosen, strict=True))
    torch.testing.assert_close(mlp(x), expected)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sliding_window": 4, "sliding_layers": (1,), "local_rope_theta": 50.0, "sandwich_norms": True},
        {"rope_scaling": RopeScaling("dynamic", 2.0, 8), "no_rope_layers": (0,), "qk_norm": False},
        {"norm": "layer", "learned_positions": True, "gated_mlp": False, "mlp_bias": True},
    ],
    ids=["qwen3", "gemma3", "smollm3", "gpt2"],
)
def test_the_decoder_compiles_into_one_graph(change):
    model = fresh_language_model(dataclasses.replace(TINY, **change), seed=1)
    compiled = torch.compile(model.model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(ids(2, 12)), model(ids(2, 12)))


@pytest.mark.parametrize("segments", [None, torch.ones(2, 2100, dtype=torch.int32)], ids=["none", "one"])
def test_a_long_row_of_one_document_needs_no_mask(model, segments):
    """Equal to the same row cut into two documents in the mask's eyes alone: the second is the last token."""
    inputs = ids(2, 2100)
    cut = torch.ones(2, 2100, dtype=torch.int32)
    cut[:, -1] = 2
    with torch.no_grad():
        plain, masked = model(inputs, segments=segments), model(inputs, segments=cut)
    torch.testing.assert_close(plain[:, :-1], masked[:, :-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain[:, -1], masked[:, -1], atol=1e-3), "the last token sees the others again"


def test_idle_experts_get_a_gradient_of_zero():
    config = dataclasses.replace(
        TINY, model_type="qwen3_moe", num_experts=40, num_experts_per_tok=1, moe_intermediate_size=12
    )
    model = fresh_language_model(config, seed=1)
    model.logits(model(ids(1, 6))).square().mean().backward()
    gradients = [expert.up_proj.weight.grad for expert in model.model.layers[0].mlp.experts]
    assert 34 <= sum(not g.any() for g in gradients) < 40
    assert model.model.layers[0].mlp.gate.weight.grad is not None


def test_a_token_costs_its_experts_and_its_window():
    dense = flops_per_token(TINY, 64)
    mixed = dataclasses.replace(
        TINY, model_type="qwen3_moe", num_experts=8, num_experts_per_tok=2, moe_intermediate_size=24
    )
    # two of 8 experts of half the width are the block that there was; the router is 8 x 32 in each of 2 layers
    assert flops_per_token(mixed, 64) == dense + 6 * 2 * 8 * 32
    assert num_parameters(mixed) == num_parameters(TINY) + 2 * (3 * 3 * 32 * 48 + 8 * 32)
    near = dataclasses.replace(TINY, sliding_window=8, sliding_layers=(1,))
    # of 64 tokens with a window of 8, the first see 1 to 8 and the rest 8: 2 * 8 - 8 * 8 / 64 = 15, not 64, in one layer
    assert dense - flops_per_token(near, 64) == 6 * (64 - 15) * 4 * 16
    # frozen weights get no gradients, an adapter's do
    assert flops_per_token(TINY, 64, adapter=100) == dense - 2 * num_parameters(TINY) + 6 * 100


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


def test_a_fresh_norm_gains_nothing_however_its_gain_is_said():
    x = torch.tensor([[3.0, 4.0]])
    for offset in (0.0, 1.0):
        # the mean of the squares is 12.5: 3 / 3.535534 and 4 / 3.535534
        torch.testing.assert_close(RMSNorm(2, 0.0, offset)(x), torch.tensor([[0.848528, 1.131371]]))


def test_fresh_weights_have_their_spread_and_follow_from_the_seed():
    config = dataclasses.replace(TINY, vocab_size=500, hidden_size=64, attention_bias=True, initializer_range=0.5)
    model, again, other = (fresh_language_model(config, seed) for seed in (0, 0, 1))
    weights, others = again.state_dict(), other.state_dict()
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, weights[name])
        if parameter.dim() == 2:
            # what writes into the residual stream: 0.5 / sqrt(2 * 2 layers)
            spread = 0.25 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.5
            # the spread of n numbers is off by its share of 1 / sqrt(2n); five of these
            assert abs(float(parameter.std()) / spread - 1) < 5 / (2 * parameter.numel()) ** 0.5, name
            assert abs(float(parameter.mean())) < 5 * spread / parameter.numel() ** 0.5, name
            assert not torch.equal(parameter, others[name])
        else:
            assert (parameter == (0.0 if name.endswith("bias") else 1.0)).all(), name
    scalar = scalar_from_language_model(model, seed=3)
    drawn = torch.randn(1, 64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(scalar.score.weight.detach(), 0.1240347 * drawn)  # 1 / sqrt(64 + 1)
    assert scalar.reward_offset == 0.0
    assert torch.equal(scalar.model.embed_tokens.weight, model.model.embed_tokens.weight)


def test_maps_and_tables_that_nobody_initialises_have_torchs_start():
    linear, table = Linear(64, 100), Embedding(100, 64)
    # uniform within 1 / sqrt(64); normal
    assert 0.9 / 8 < linear.weight.detach().abs().max() <= 1 / 8
    assert abs(float(table.weight.detach().std()) - 1) < 5 / (2 * 6400) ** 0.5
    with torch.device("meta"):
        assert Linear(4, 3).weight.is_meta and Embedding(4, 3).weight.is_meta


def test_rotary_tables_by_hand():
    positions = torch.tensor([[0, 3]])
    # width 4, theta 100: pair 0 turns by the position, pair 1 by the position times 100^(-2/4) = 0.1
    angles = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [3.0, 0.3, 3.0, 0.3]]])[:, :, None]
    cos, sin = rotary_tables(positions, 4, 100.0)
    torch.testing.assert_close(cos, angles.cos())
    torch.testing.assert_close(sin, angles.sin())
    # a quarter turn takes (1, 2) to (-2, 1)
    quarter = torch.tensor(math.pi / 2).expand(1, 1, 1, 2)
    turned = rotate(torch.tensor([[[[1.0, 2.0]]]]), quarter.cos(), quarter.sin())
    torch.testing.assert_close(turned, torch.tensor([[[[-2.0, 1.0]]]]))
    half = RopeScaling("linear", factor=2.0)
    torch.testing.assert_close(rotary_tables(positions, 4, 100.0, half)[0], (angles / 2).cos())
    # yarn's magnitude is 0.1 ln(4) + 1 = 1.138629, or what is said
    for said, magnitude in ((0.0, 1.138629), (0.5, 0.5)):
        yarn = RopeScaling("yarn", 4.0, 64, attention_factor=said)
        torch.testing.assert_close(rotary_tables(positions, 4, 100.0, yarn)[0][:, 0], torch.full((1, 1, 4), magnitude))
    # dynamic: within the original length as without; of 16 for 8 and a factor of 2 the base is 100 * 3^(4 / 2) = 900
    dynamic = RopeScaling("dynamic", 2.0, 8)
    assert torch.equal(rotary_tables(positions, 4, 100.0, dynamic)[0], cos)
    found, _ = rotary_tables(positions, 4, 100.0, dynamic, torch.tensor([[16]]))
    torch.testing.assert_close(found[0, 1, 0], torch.tensor([3.0, 0.1, 3.0, 0.1]).cos())


def test_yarn_keeps_fast_rotary_pairs_lowers_slow_ones_and_mixes_between() -> None:
    # D = 8, theta = 10,000: frequencies 1, .1, .01, .001. 32 turns in 4,096 positions are pair 8 ln(4096 / 64 pi) / 2 ln 10^4
    # = 1.31, rounded down to 1; one turn is pair 2.81, rounded up to 3. Shares 1, 1, 1/2, 0 keep; factor 4 divides the rest.
    frequencies = 10_000.0 ** (-torch.arange(4) / 4)
    found = _scaled(frequencies, 8, 10_000.0, RopeScaling("yarn", 4.0, original_max_position_embeddings=4096))
    assert found.tolist() == pytest.approx([1.0, 0.1, (0.01 + 0.0025) / 2, 0.00025])

"""Other people's models: for each family a tiny one made by transformers has our logits and our text, and ours has theirs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jielong.errors import CheckpointError
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.packed import PackedModel
from jielong.model import hf
from jielong.model.presets import num_parameters
from jielong.model.transformer import LanguageModel, ModelConfig, RopeScaling, ScalarModel, scalar_from_language_model
from jielong.records import Request, Sampling

transformers = pytest.importorskip("transformers")

V = 101
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": None,
}
GPT2 = {"vocab_size": V, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 160, "eos_token_id": None}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 16}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 9, "sliding_window_pattern": 2}

# name of the case, transformers' config class, what it is given besides the sizes
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"rope_theta": 5000.0}),
    "llama with biases, tied": (
        "LlamaConfig",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 12},
    ),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "mistral with a window": ("MistralConfig", {"sliding_window": 7, "head_dim": 16}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2 with windows": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2}),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3 with biases": ("Qwen3Config", {"head_dim": 16, "attention_bias": True}),
    "qwen3_moe": ("Qwen3MoeConfig", EXPERTS | {"norm_topk_prob": True}),
    "qwen3_moe, shares as they are": (
        "Qwen3MoeConfig",
        EXPERTS | {"norm_topk_prob": False, "tie_word_embeddings": True},
    ),
    "smollm3": ("SmolLM3Config", {"no_rope_layer_interval": 2}),
    "smollm3 with windows": (
        "SmolLM3Config",
        {"use_sliding_window": True, "sliding_window": 8, "attention_bias": True},
    ),
    "gemma3": ("Gemma3TextConfig", GEMMA | {"tie_word_embeddings": True}),
    "gemma3, scaled": (
        "Gemma3TextConfig",
        GEMMA | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "query_pre_attn_scalar": 16},
    ),
    "gpt2": ("GPT2Config", GPT2),
    "gpt2, untied and plain scores": (
        "GPT2Config",
        GPT2 | {"tie_word_embeddings": False, "scale_attn_weights": False, "n_inner": 40},
    ),
}
LONG = {"max_position_embeddings": 160}
SCALINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({"rope_type": "linear", "factor": 4.0}, LONG),
    "linear, older": ({"type": "linear", "factor": 2.5}, LONG),
    "dynamic": ({"rope_type": "dynamic", "factor": 5.0}, {"max_position_embeddings": 32}),
    "yarn": ({"rope_type": "yarn", "factor": 5.0, "original_max_position_embeddings": 32}, LONG),
    "yarn, all said": (
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
            "beta_fast": 8.0,
            "beta_slow": 0.5,
            "attention_factor": 1.3,
        },
        LONG,
    ),
    "yarn, two scales": (
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
            "mscale": 1.0,
            "mscale_all_dim": 0.5,
        },
        LONG,
    ),
    "llama3": (
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        LONG,
    ),
}


def made_by_transformers(case: tuple[str, dict[str, Any]], path: Path, **changes: Any) -> Any:
    """A tiny model in `path`, its weights large enough that each matters and its norms and biases not those of a fresh one."""
    name, given = case
    config = getattr(transformers, name)(**(given if name == "GPT2Config" else SIZES | given) | changes)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn_like(parameter)
                if parameter.dim() == 1:
                    parameter.add_(noise * 0.3)
                else:
                    parameter.copy_(noise * (0.15 if parameter.shape[-1] == V else 0.3))
    path.mkdir(exist_ok=True)
    model.save_pretrained(path)
    return model


def theirs_of(path: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, V, (rows, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def assert_equal_logits(ours: LanguageModel, theirs: Any, inputs: torch.Tensor) -> None:
    expected = theirs(inputs, use_cache=False).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(ours.logits(ours(inputs)), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@torch.no_grad()
def assert_equal_text(ours: LanguageModel, theirs: Any, prompt_lengths: tuple[int, ...], tokens: int = 64) -> None:
    """The likeliest text of both, and that no other token was close to being the likeliest."""
    prompts = [tuple(ids(1, n)[0].tolist()) for n in prompt_lengths]
    engine = Engine(ours, EngineConfig(slots=4, bucket=16))
    samples = engine.generate([Request(p, Sampling(max_tokens=tokens, temperature=0)) for p in prompts])
    for prompt, sample in zip(prompts, samples, strict=True):
        inputs = torch.tensor([prompt])
        written = theirs.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=tokens,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
        gaps = torch.cat(written.logits).topk(2).values.diff().abs()
        assert gaps.min() > 1e-4  # or the comparison means nothing
        assert list(sample.ids) == written.sequences[0, len(prompt) :].tolist()
        np.testing.assert_allclose(
            sample.logprobs, torch.cat(written.logits).log_softmax(-1).max(-1).values.numpy(), atol=2e-3
        )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_family_has_transformers_logits_and_text(tmp_path: Path, case: tuple[str, dict[str, Any]]) -> None:
    theirs = made_by_transformers(case, tmp_path)
    ours = hf.load_language_model(tmp_path)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert num_parameters(ours.config) == sum(p.numel() for p in ours.parameters())
    assert_equal_logits(ours, theirs, ids(3, 40))
    assert_equal_text(ours, theirs, (23, 5))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_we_save_opens_in_transformers_and_here(tmp_path: Path, case: tuple[str, dict[str, Any]]) -> None:
    made_by_transformers(case, tmp_path / "theirs")
    ours = hf.load_language_model(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    hf.save(ours, tmp_path / "ours", eos_token_id=[3, 4], pad_token_id=1)
    assert_equal_logits(ours, theirs_of(tmp_path / "ours"), ids(2, 30))
    again = hf.load_language_model(tmp_path / "ours")
    assert again.config == ours.config
    state = again.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("case", [CASES["gpt2"], CASES["qwen3_moe"]], ids=["joined tensors", "experts"])
def test_a_model_in_shards_opens_in_transformers_and_here(tmp_path: Path, case: tuple[str, dict[str, Any]]) -> None:
    made_by_transformers(case, tmp_path)
    ours = hf.load_language_model(tmp_path)
    # over what transformers left there: neither its single file nor these shards are read afterwards by mistake
    hf.save(ours, tmp_path, eos_token_id=3, pad_token_id=1, shard_bytes=15_000)
    assert not (tmp_path / "model.safetensors").exists()
    files = list(tmp_path.glob("model-*.safetensors"))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(files) > 3 and {file.name for file in files} == set(index["weight_map"].values())
    assert index["metadata"]["total_size"] == sum(p.nbytes for p in ours.parameters())
    for file in files:
        tensors = load_file(file)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 15_000
    assert_equal_logits(ours, theirs_of(tmp_path), ids(2, 30))
    state = hf.load_language_model(tmp_path).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())
    hf.save(ours, tmp_path, eos_token_id=3, pad_token_id=1)
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]


@pytest.mark.parametrize(("scaling", "sizes"), SCALINGS.values(), ids=SCALINGS)
def test_scaled_rotary_positions_are_transformers_beyond_the_original_length(
    tmp_path: Path, scaling: dict[str, Any], sizes: dict[str, Any]
) -> None:
    case = ("LlamaConfig", {"head_dim": 16, "rope_theta": 5000.0, "rope_scaling": scaling} | sizes)
    made_by_transformers(case, tmp_path)
    ours = hf.load_language_model(tmp_path)
    # dynamic scaling remembers the longest text it saw, so each comparison starts afresh
    assert_equal_logits(ours, theirs_of(tmp_path), ids(2, 130))
    assert_equal_text(ours, theirs_of(tmp_path), (20,), tokens=80)
    plain = LanguageModel(dataclasses.replace(ours.config, rope_scaling=None))
    plain.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert not torch.allclose(plain(ids(2, 130)), ours(ids(2, 130)), atol=1e-2)
    (tmp_path / "ours").mkdir()
    hf.save(ours, tmp_path / "ours", eos_token_id=3, pad_token_id=1)
    assert hf.load_language_model(tmp_path / "ours").config == ours.config
    assert_equal_logits(ours, theirs_of(tmp_path / "ours"), ids(2, 130))


def test_both_forms_of_rotary_settings_say_the_same(tmp_path: Path) -> None:
    made_by_transformers(("LlamaConfig", {}), tmp_path)
    file = tmp_path / "config.json"
    data = json.loads(file.read_text())
    newer = {"rope_type": "yarn", "rope_theta": 700.0, "factor": 4.0, "original_max_position_embeddings": 40}
    file.write_text(json.dumps(data | {"rope_parameters": newer}))
    config = hf.read_config(tmp_path)[0]
    assert config.rope_theta == 700.0
    assert config.rope_scaling == RopeScaling("yarn", 4.0, original_max_position_embeddings=40)
    older = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 40}
    del data["rope_parameters"]
    file.write_text(json.dumps(data | {"rope_scaling": older, "rope_theta": 700.0}))
    assert hf.read_config(tmp_path)[0] == config


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("llama", {"rope_interleaved": True}, "rope_interleaved = True"),
        ("mistral", {"layer_types": ["full_attention"] * 4}, "unknown field 'layer_types'"),
        ("qwen2", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ("qwen3_moe", {"mlp_only_layers": [1]}, r"mlp_only_layers = \[1\]"),
        ("smollm3", {"n_embd": 8}, "unknown field 'n_embd'"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
        ("gemma3", {"rope_parameters": {"rope_theta": 3.0}}, "unknown field 'rope_theta'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ],
)
def test_a_family_that_would_compute_something_else_is_refused(
    tmp_path: Path, name: str, change: dict[str, Any], told: str
) -> None:
    made_by_transformers(CASES[name], tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        hf.read_config(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_in_several_files_are_read_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    theirs = made_by_transformers(CASES["llama"], tmp_path).to(dtype)
    (tmp_path / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    ours = hf.load_language_model(tmp_path).state_dict()
    for name, tensor in theirs.state_dict().items():
        assert ours[name].dtype == torch.float32
        assert torch.equal(ours[name], tensor.float())


def test_gpt2_opens_under_the_names_of_its_first_release(tmp_path: Path) -> None:
    theirs = made_by_transformers(CASES["gpt2"], tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    tensors |= {"h.0.attn.bias": torch.ones(1, 1, 160, 160).tril(), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    save_file(tensors, file)
    assert_equal_logits(hf.load_language_model(tmp_path), theirs, ids(2, 20))


FAMILY_CASES = ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "smollm3", "gemma3", "gpt2"]


@pytest.mark.parametrize("name", FAMILY_CASES)
def test_a_reward_model_of_any_family_has_transformers_scores(tmp_path: Path, name: str) -> None:
    made_by_transformers(CASES[name], tmp_path)
    ours = scalar_from_language_model(hf.load_language_model(tmp_path), seed=2)
    ours.reward_offset = 0.5
    hf.save(ours, tmp_path, eos_token_id=3, pad_token_id=1)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    inputs = ids(2, 20).clamp_min(4)
    with torch.no_grad():
        scores = ours(inputs)[:, -1] + 0.5
        torch.testing.assert_close(scores, theirs(inputs).logits[:, 0], rtol=1e-4, atol=1e-4)
    again = hf.load(tmp_path)
    assert isinstance(again, ScalarModel)
    assert again.reward_offset == 0.5
    assert torch.equal(again(inputs), ours(inputs))


@pytest.mark.parametrize("name", ["mistral with a window", "smollm3 with windows", "gemma3", "gpt2", "qwen3_moe"])
def test_packed_documents_and_neighbours_change_nothing(tmp_path: Path, name: str) -> None:
    made_by_transformers(CASES[name], tmp_path)
    model = hf.load_language_model(tmp_path)
    first, second = ids(1, 21), ids(1, 34).flip(1)
    segments = torch.tensor([[1] * 21 + [2] * 34])
    positions = torch.cat([torch.arange(21), torch.arange(34)])[None]
    with torch.no_grad():
        together = model(torch.cat([first, second], dim=1), positions, segments)
        torch.testing.assert_close(together[:, :21], model(first), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together[:, 21:], model(second), rtol=1e-4, atol=1e-4)
    prompts = [tuple(ids(1, n)[0].tolist()) for n in (1, 30, 12, 45, 3)]
    requests = [Request(p, Sampling(max_tokens=15, temperature=0.5), seed=i) for i, p in enumerate(prompts)]
    alone = [Engine(model, EngineConfig(slots=1)).generate([request])[0] for request in requests]
    for config in (EngineConfig(slots=3, bucket=8, prefill_tokens=7), EngineConfig(slots=5, bucket=1)):
        for sample, expected in zip(Engine(model, config).generate(requests), alone, strict=True):
            assert sample.ids == expected.ids
            np.testing.assert_allclose(sample.logprobs, expected.logprobs, atol=1e-3)


@pytest.mark.parametrize("name", FAMILY_CASES)
def test_the_engine_in_bfloat16_stays_close_and_a_step_of_training_learns(tmp_path: Path, name: str) -> None:
    made_by_transformers(CASES[name], tmp_path)
    model = hf.load_language_model(tmp_path)
    prompt, answer = ids(1, 20)[0].tolist(), ids(1, 60)[0, 20:].tolist()
    exact = Engine(model, EngineConfig(slots=1)).score(prompt, answer)
    rounded = Engine(model, EngineConfig(slots=1, dtype="bfloat16")).score(prompt, answer)
    assert 0 < np.abs(np.subtract(exact, rounded)).mean() < 0.15 * np.std(exact)
    inputs = ids(1, 60)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        nats = torch.nn.functional.cross_entropy(
            model.logits(model(inputs[:, :-1]))[0], inputs[0, 1:], reduction="none"
        )
        if not losses:
            np.testing.assert_allclose(exact, -nats[19:].detach().numpy(), atol=2e-3)
        optimizer.zero_grad()
        nats.mean().backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(nats.detach().mean())
    assert losses[-1] < losses[0]


def test_dynamic_scaling_does_not_depend_on_how_a_prompt_was_cut(tmp_path: Path) -> None:
    scaling, sizes = SCALINGS["dynamic"]
    made_by_transformers(("LlamaConfig", {"head_dim": 16, "rope_scaling": scaling} | sizes), tmp_path)
    model, line = hf.load_language_model(tmp_path), ids(1, 90)[0]
    with torch.inference_mode():
        packed = PackedModel(model.config, torch.float32, torch.device("cpu"), 160)
        packed.load(model.state_dict())
        cut, whole = packed.new_cache(1, 96), packed.new_cache(1, 96)
        packed.prefill(cut, line[:50], [0], [0], [50], lengths=[90])
        end = packed.prefill(cut, line[50:], [0], [50], [40], lengths=[90])
        torch.testing.assert_close(end, packed.prefill(whole, line, [0], [0], [90])[50:], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(packed.logits(end), model.logits(model(line[None]))[0, 50:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": {"a": 1}}, "describes a"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers = 10000000; expected a whole number from 0 to 4096"),
        ({"num_hidden_layers": 4000}, "asks for .* parameters; the files of weights hold"),
        ({"vocab_size": 10**7}, "asks for .* parameters; the files of weights hold"),
        ({"hidden_size": 10**30}, "hidden_size"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"rms_norm_eps": 10**400}, "digits"),
        ({"rope_theta": None}, "rope_theta"),
        ({"rope_theta": 0.0, "rope_parameters": None}, "rope_theta"),
        ({"rope_scaling": [1]}, "rotary scaling"),
        ({"rope_scaling": {"rope_type": ["yarn"]}}, "rope_type"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 1e308}}, "factor"),
        ({"layer_types": [{}, []]}, "layer_types"),
        ({"layer_types": "full_attention"}, "layer_types"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
        ({"sliding_window": -1}, "sliding_window"),
    ],
)
def test_a_config_of_another_kind_or_size_is_refused_before_a_model_is_made(tmp_path, change, told):
    hf.save(LanguageModel(ModelConfig(67, 32, 48, 2, 4, 2, 16, 64)), tmp_path, eos_token_id=0, pad_token_id=None)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        hf.load(tmp_path)


def test_weights_that_are_a_link_elsewhere_are_not_opened(tmp_path):
    hf.save(LanguageModel(ModelConfig(67, 32, 48, 2, 4, 2, 16, 64)), tmp_path, eos_token_id=0, pad_token_id=None)
    for name in ("config.json", hf.WEIGHTS):
        body = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(CheckpointError, match="no regular file"):
            hf.load(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(body)
    hf.load(tmp_path)

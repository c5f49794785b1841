"""Adapters: nothing changes until they are trained, merging changes nothing, and PEFT opens what we save."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from torch import nn

from jielong.data.shards import TokenArray
from jielong.data.steps import PackedTokens
from jielong.errors import CheckpointError, ConfigError
from jielong.generate.engine import Engine
from jielong.model import adapter_files, adapters, hf
from jielong.model.adapters import AdaptedLinear, AdaptedModel, AdapterConfig, dropout_mask
from jielong.model.quantised import QuantisedLinear, decoder_linears, narrow, quantise, weight_bytes
from jielong.model.transformer import LanguageModel, Linear, ModelConfig, fresh_language_model
from jielong.records import Request, Sampling
from jielong.train.loop import Loop, LoopConfig
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig

TINY = ModelConfig(
    vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
)  # fmt: skip
INPUTS = torch.randint(0, 128, (3, 24), generator=torch.Generator().manual_seed(0))


def fresh(**changes: object) -> LanguageModel:
    return fresh_language_model(dataclasses.replace(TINY, **changes), seed=3)


def logits(model: nn.Module, inputs: torch.Tensor = INPUTS) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(inputs)).float()


def moved(model: AdaptedModel, size: float = 0.3) -> AdaptedModel:
    """The model with adapters that do something: B is no longer zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for linear in model.linears.values():
            linear.lora_B.copy_(torch.randn(linear.lora_B.shape, generator=generator) * size)
    return model


def test_a_fresh_adapter_changes_no_bit():
    before = logits(fresh())
    assert torch.equal(logits(AdaptedModel(fresh(), AdapterConfig())), before)


def test_an_adapter_that_is_off_is_the_base_bit_for_bit():
    before = logits(fresh())
    model = moved(AdaptedModel(fresh(), AdapterConfig()))
    assert (logits(model) - before).abs().max() > 0.01
    with model.off():
        assert torch.equal(logits(model), before)
    assert (logits(model) - before).abs().max() > 0.01


def test_every_map_of_the_layers_is_adapted_by_default_and_only_those_named_otherwise():
    assert len(AdaptedModel(fresh(), AdapterConfig()).linears) == 2 * 7
    some = AdaptedModel(fresh(tie_word_embeddings=False), AdapterConfig(targets=("v_proj", "1.mlp.up_proj", "lm_head")))
    assert sorted(some.linears) == [
        "lm_head",
        "model.layers.0.self_attn.v_proj",
        "model.layers.1.mlp.up_proj",
        "model.layers.1.self_attn.v_proj",
    ]
    with pytest.raises(ConfigError, match="did you mean 'q_proj'"):
        AdaptedModel(fresh(), AdapterConfig(targets=("q_pro",)))


def test_an_adapter_of_the_head_is_in_the_logits_learns_and_merges():
    base, before = fresh(tie_word_embeddings=False), logits(fresh(tie_word_embeddings=False))
    model = AdaptedModel(base, AdapterConfig(rank=2, base="float32", targets=("lm_head",)))
    assert torch.equal(logits(model), before)
    moved(model)
    with torch.no_grad():
        hidden = model(INPUTS)
        expected = hidden @ (base.lm_head.base.weight + 16.0 * base.lm_head.lora_B @ base.lm_head.lora_A).T
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    with model.off():
        assert torch.equal(logits(model), before)
    source = PackedTokens(tokens(), length=32, rows_per_step=4, micro_rows=4, seed=5)
    NextToken()({"policy": model}, source.next_step()[0]).terms["loss"][0].backward()
    assert base.lm_head.lora_A.grad.any() and base.lm_head.lora_B.grad.any()
    assert base.lm_head.base.weight.grad is None
    merged = model.merge()
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)


def test_the_start_is_kaiming_uniform_and_zero_and_follows_from_the_seed():
    linear = AdaptedLinear(Linear(400, 30), AdapterConfig(rank=8), seed=1)
    again = AdaptedLinear(Linear(400, 30), AdapterConfig(rank=8), seed=1)
    bound = 1 / math.sqrt(400)  # sqrt(6 / ((1 + 5) * 400))
    assert torch.equal(linear.lora_A, again.lora_A)
    assert 0.98 * bound < linear.lora_A.abs().max() <= bound
    assert abs(float(linear.lora_A.detach().std()) - bound / math.sqrt(3)) < 0.03 * bound
    assert not linear.lora_B.any()


@pytest.mark.parametrize(("stabilised", "scale"), [(False, 12 / 4), (True, 12 / 2)])
def test_the_scale_is_alpha_over_r_or_over_its_root(stabilised, scale):
    linear = AdaptedLinear(Linear(5, 6), AdapterConfig(rank=4, alpha=12, rank_stabilised=stabilised), seed=0)
    nn.init.normal_(linear.lora_B)
    x = torch.randn(2, 5)
    with torch.no_grad():
        expected = x @ (linear.base.weight + scale * linear.lora_B @ linear.lora_A).T
        torch.testing.assert_close(linear(x), expected, rtol=1e-5, atol=1e-5)


def test_merged_equals_unmerged_and_unmerging_restores_every_bit():
    base = fresh()
    weights = {n: p.clone() for n, p in base.named_parameters()}
    model = moved(AdaptedModel(base, AdapterConfig(base="float32")))
    adapted = logits(model)
    merged = model.merge()
    assert merged.state_dict().keys() == weights.keys()
    torch.testing.assert_close(logits(merged), adapted, rtol=1e-5, atol=1e-5)
    model.unmerge()
    assert torch.equal(logits(model), adapted)
    with model.off():
        assert torch.equal(logits(model), logits(fresh()))
    inner = {n: linear.base.weight for n, linear in model.linears.items()}
    assert all(torch.equal(weights[f"{n}.weight"], w) for n, w in inner.items())


def test_merged_weights_are_frozen_and_may_be_merged_again():
    model = moved(AdaptedModel(fresh(), AdapterConfig(base="float32")))
    first = {n: w.clone() for n, w in model.merge().state_dict().items()}
    assert not any(p.requires_grad for p in model.base.parameters())
    model.unmerge()
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        f"base.{n}.{part}" for n in model.linears for part in ("lora_A", "lora_B")
    }
    assert all(torch.equal(w, first[n]) for n, w in model.merge(keep=False).state_dict().items())
    assert not model._kept


def test_an_adapters_state_is_taken_whole_or_refused():
    one, other = (
        moved(AdaptedModel(fresh(), AdapterConfig(rank=2))),
        AdaptedModel(fresh(), AdapterConfig(rank=2), seed=9),
    )
    state = one.state_dict()
    other.load_state_dict(state)
    assert torch.equal(logits(one), logits(other))
    first = next(iter(state))
    wrong = {"lacks": {n: t for n, t in state.items() if n != first}, "no place": state | {"more": torch.zeros(1)}}
    for told, given in (wrong | {"has shape": state | {first: torch.zeros(1, 1)}}).items():
        with pytest.raises(CheckpointError, match=told):
            other.load_state_dict(given)


# DoRA ----------------------------------------------------------------------------------------------------------------

DORA = AdapterConfig(rank=3, alpha=6, base="float32", decomposed=True)


def lengthened(model: AdaptedModel) -> AdaptedModel:
    """The model with adapters that turn rows and change their lengths."""
    moved(model)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for linear in model.linears.values():
            linear.lora_magnitude.mul_(0.6 + 0.8 * torch.rand(linear.lora_magnitude.shape, generator=generator))
    return model


def test_a_decomposed_map_by_hand():
    linear = Linear(2, 2, bias=True)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
        linear.bias.copy_(torch.tensor([1.0, -1.0]))
        adapted = AdaptedLinear(linear, AdapterConfig(rank=1, alpha=2, decomposed=True), seed=0)
        assert adapted.lora_magnitude.tolist() == [3.0, 2.0]  # the lengths of the rows
        adapted.lora_A.copy_(torch.tensor([[0.0, 1.0]]))
        adapted.lora_B.copy_(torch.tensor([[2.0], [-0.25]]))
        adapted.lora_magnitude.copy_(torch.tensor([10.0, 6.0]))
    # V = W + 2 B A = [[3, 4], [0, 1.5]] with lengths 5 and 1.5: the weight is [[6, 8], [0, 6]], the bias stays
    x = torch.tensor([[1.0, 1.0], [2.0, -1.0]], requires_grad=True)
    out = adapted(x)
    torch.testing.assert_close(out, torch.tensor([[15.0, 5.0], [5.0, -7.0]]))
    torch.testing.assert_close(adapted.weight, torch.tensor([[6.0, 8.0], [0.0, 6.0]]))
    out.sum().backward()
    # d out / d m = V x / |V|, summed over both inputs: ([3, 4] @ [3, 0]) / 5 and ([0, 1.5] @ [3, 0]) / 1.5
    torch.testing.assert_close(adapted.lora_magnitude.grad, torch.tensor([1.8, 0.0]))
    # |V| is a constant: d out / d B = s m / |V| (A x), and A x sums to 0
    torch.testing.assert_close(adapted.lora_B.grad, torch.zeros(2, 1))
    # d out / d A = s sum of (m / |V| B) times x: 2 (2 * 2 - 4 * 0.25) * [3, 0]
    torch.testing.assert_close(adapted.lora_A.grad, torch.tensor([[18.0, 0.0]]))


@pytest.mark.parametrize("form", ["float32", "int8", "compute"])
def test_a_fresh_decomposed_adapter_changes_no_bit_and_off_is_the_base(form):
    def base() -> LanguageModel:
        model = fresh()
        model.model.compute_dtype = torch.bfloat16 if form == "compute" else torch.float32
        return model

    config = dataclasses.replace(DORA, base=form)
    plain = base()
    if form == "int8":
        quantise(plain)
    model = AdaptedModel(base(), config)
    assert torch.equal(logits(model), logits(plain))
    lengthened(model)
    assert (logits(model) - logits(plain)).abs().max() > 0.01
    with model.off():
        assert torch.equal(logits(model), logits(plain))
    assert model.num_trained == sum(3 * (m.in_features + m.out_features) + m.out_features for m in inner_of(model))


def inner_of(model: AdaptedModel) -> list[nn.Module]:
    return [linear.base for linear in model.linears.values()]


@pytest.mark.parametrize("shape", [{}, {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}])
def test_a_merged_decomposed_adapter_equals_the_unmerged_and_unmerging_restores_every_bit(shape):
    base = fresh(**shape)
    weights = {n: p.clone() for n, p in base.named_parameters()}
    targets = ("lm_head", "q_proj", "down_proj") if shape else ()
    model = lengthened(AdaptedModel(base, dataclasses.replace(DORA, targets=targets)))
    adapted = logits(model)
    merged = model.merge()
    torch.testing.assert_close(logits(merged), adapted, rtol=1e-5, atol=1e-5)
    lengths = {n: linear.lora_magnitude.detach() for n, linear in model.linears.items()}
    for name, expected in lengths.items():  # the magnitude is the length of the merged rows
        torch.testing.assert_close(merged.get_submodule(name).weight.norm(dim=1), expected)
    model.unmerge()
    assert torch.equal(logits(model), adapted)
    assert all(torch.equal(weights[f"{n}.weight"], linear.base.weight) for n, linear in model.linears.items())


def test_a_row_of_zeros_stays_finite():
    base = fresh()
    with torch.no_grad():
        base.model.layers[0].mlp.up_proj.weight[3] = 0.0
    before = logits(base)
    model = AdaptedModel(base, DORA)
    assert torch.equal(logits(model), before)
    model(INPUTS).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_what_was_narrowed_cannot_be_merged():
    for form in ("int8", "compute"):
        base = fresh()
        base.model.compute_dtype = torch.bfloat16
        with pytest.raises(ConfigError, match="float32"):
            AdaptedModel(base, AdapterConfig(base=form)).merge()


# Training ----------------------------------------------------------------------------------------------------------


def tokens() -> TokenArray:
    rng = np.random.default_rng(0)
    return TokenArray.of([[*(rng.integers(0, 40) + np.arange(30)).tolist(), 0] for _ in range(30)])


def make_loop(directory: Path, steps: int, config: AdapterConfig, *, compiled: bool = False, layers: int = 2) -> Loop:
    base = fresh(num_hidden_layers=layers)
    model = AdaptedModel(base, config, seed=5)
    if compiled:
        model.model.compile(dynamic=False)
    rate = OptimizerConfig(lr=1e-2, warmup_steps=0, decay_fraction=0.0)
    return Loop(
        {"policy": model},
        {"policy": Optimizer(model, rate)},
        PackedTokens(tokens(), length=32, rows_per_step=4, micro_rows=4, seed=5),
        NextToken(),
        LoopConfig(steps=steps, log_every=1, save_every_s=1e9),
        directory,
        lambda module, path: adapter_files.save(module, path, "somewhere"),
    )


@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(rank=4),
        AdapterConfig(rank=4, dropout=0.2),
        AdapterConfig(rank=4, base="int8"),
        AdapterConfig(rank=4, dropout=0.2, decomposed=True),
    ],
    ids=["plain", "dropout", "int8", "decomposed"],
)
def test_training_learns_moves_only_adapters_and_resumes_bit_for_bit(tmp_path, config):
    loop = make_loop(tmp_path / "whole", 8, config)
    outcome = loop.run()
    assert outcome.last["loss"] < 4.78  # ln 128 = 4.85 is where it began
    frozen = AdaptedModel(fresh(), config).base.state_dict()
    for name, tensor in loop.modules["policy"].base.state_dict().items():
        assert ".lora_" in name or torch.equal(tensor, frozen[name]), name

    make_loop(tmp_path / "parts", 5, config).run()
    resumed = make_loop(tmp_path / "parts", 8, config)
    resumed.run()
    whole, parts = loop.modules["policy"].state_dict(), resumed.modules["policy"].state_dict()
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[n], parts[n]) for n in whole)


def test_a_checkpoint_of_an_adapter_stage_holds_the_adapter_and_not_the_base(tmp_path):
    outcome = make_loop(tmp_path, 2, AdapterConfig(rank=2)).run()
    files = {p.name: p.stat().st_size for p in outcome.checkpoint.rglob("*") if p.is_file()}
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors", "state.pt", "sums.json"}
    state = torch.load(outcome.checkpoint / "training" / "state.pt", weights_only=True)
    assert all(".lora_" in name or name == "draws" for name in state["main"])


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # what dynamo does to functions
def test_compiled_training_equals_plain_training(tmp_path):
    config = AdapterConfig(rank=4, dropout=0.1, base="int8", targets=("q_proj", "down_proj"))
    plain = make_loop(tmp_path / "a", 2, config, layers=1)
    compiled = make_loop(tmp_path / "b", 2, config, layers=1, compiled=True)
    torch._dynamo.reset()
    plain.run()
    compiled.run()
    theirs = compiled.modules["policy"].state_dict()
    for name, tensor in plain.modules["policy"].state_dict().items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4)


def test_dropout_drops_its_share_anew_each_step_and_never_when_looking():
    keys = [adapters._draw_keys(n, torch.Generator().manual_seed(n)) for n in (500, 400)]
    mask = dropout_mask(keys[0], keys[1], 0.3)
    assert abs(float(mask.float().mean()) - 0.7) < 0.005
    # rows and columns, and neighbouring pairs of them, are no more alike than chance
    assert float(mask.float().mean(0).std()) < 0.03 and float(mask.float().mean(1).std()) < 0.03
    assert abs(float((mask[1:] & mask[:-1]).float().mean()) - 0.49) < 0.01
    model = moved(AdaptedModel(fresh(), AdapterConfig(dropout=0.5)))
    first, second = model(INPUTS).detach(), model(INPUTS).detach()
    assert not torch.equal(first, second)
    assert torch.equal(logits(model), logits(model))


def test_dropout_reaches_experts_that_get_a_part_of_the_tokens():
    shape = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "model_type": "qwen3_moe"}
    model = moved(AdaptedModel(fresh(**shape), AdapterConfig(rank=2, dropout=0.5)))
    assert any(".experts." in name for name in model.linears)
    with model.off():
        before = model(INPUTS)
    hidden = model(INPUTS)
    assert hidden.isfinite().all() and not torch.equal(hidden, before)
    hidden.square().sum().backward()
    assert all(linear.lora_A.grad is not None for linear in model.linears.values())


def test_what_dropout_keeps_by_hand():
    # bits 22 to 41 of the product, which is the column's key: 0, half of 2^20 less one, half, and all ones
    columns = torch.tensor([0, (2**19 - 1) << 22, 2**19 << 22, (2**20 - 1) << 22])
    one = torch.tensor([1])
    assert dropout_mask(one, columns, 0.5).tolist() == [[False, False, True, True]]
    assert dropout_mask(one, columns, 0.0).all()
    assert dropout_mask(one, torch.tensor([0, 1 << 22, 1 << 42]), 2.0**-20).tolist() == [[False, True, False]]
    assert dropout_mask(2 * one, columns, 0.5).tolist() == [
        [False, True, False, True]
    ]  # doubled, the highest bit is gone


def test_what_dropout_keeps_is_scaled_up_by_the_share_that_it_keeps():
    linear = AdaptedLinear(Linear(400, 3), AdapterConfig(rank=2, alpha=6, dropout=0.2), seed=0)
    nn.init.zeros_(linear.base.weight)
    nn.init.ones_(linear.lora_A)
    nn.init.ones_(linear.lora_B)
    linear.row_keys = adapters._draw_keys(5, torch.Generator().manual_seed(1))
    num_kept = dropout_mask(linear.row_keys, linear.column_keys, 0.2).sum(dim=1)
    assert ((num_kept > 280) & (num_kept < 360)).all() and len(set(num_kept.tolist())) > 1
    # of ones: each of two ranks sums what is kept over 0.8, and both are added times the scale 6 / 2
    expected = (num_kept / 0.8 * 2 * 3)[:, None].expand(5, 3)
    torch.testing.assert_close(linear(torch.ones(5, 400)).detach(), expected)


# int8 --------------------------------------------------------------------------------------------------------------


def test_int8_weights_are_within_half_a_step_and_take_a_quarter_of_the_memory():
    linear = Linear(300, 200)
    small = QuantisedLinear(linear)
    step = linear.weight.abs().amax(1) / 127
    assert ((small.full_weight() - linear.weight).abs() <= 0.5 * step[:, None] * (1 + 2**-7)).all()
    assert torch.equal(small.scale, small.scale.bfloat16().float())
    assert weight_bytes(small) == 300 * 200 + 200 * 4


def test_int8_forward_and_gradient_are_those_of_the_widened_matrix():
    small = QuantisedLinear(Linear(40, 30))
    x = torch.randn(2, 5, 40, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    (small(x) ** 2).sum().backward()
    ((y @ small.full_weight().T) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)


def test_quantising_a_model_keeps_its_predictions_and_saves_memory():
    base, before = fresh(), logits(fresh())
    full = weight_bytes(base)
    quantise(base)
    matrices = sum(m.in_features * m.out_features for m in decoder_linears(base).values())
    rows = sum(m.out_features for m in decoder_linears(base).values())
    assert full - weight_bytes(base) == 3 * matrices - 4 * rows
    after = logits(base)
    assert 0 < (after - before).abs().max() < 0.05 * before.abs().max()


def test_keeping_matrices_in_the_compute_dtype_changes_no_number():
    plain, narrowed = fresh(), fresh()
    for model in (plain, narrowed):
        model.model.compute_dtype = torch.bfloat16
    narrow(narrowed, torch.bfloat16)
    assert torch.equal(logits(plain), logits(narrowed))
    assert weight_bytes(narrowed) < weight_bytes(plain)


# PEFT asks the models of newer transformers by a name that these are about to give up
OLD_NAME = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


# PEFT --------------------------------------------------------------------------------------------------------------


def open_theirs(path: Path) -> nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@OLD_NAME
@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(),
        AdapterConfig(rank=3, alpha=5, rank_stabilised=True, targets=("q_proj", "down_proj")),
        AdapterConfig(rank=2, targets=("1.self_attn.k_proj",)),
        AdapterConfig(rank=3, alpha=5, rank_stabilised=True, decomposed=True),
    ],
    ids=["all", "two kinds, stabilised", "one layer", "decomposed"],
)
def test_peft_opens_our_adapter_with_equal_logits(tmp_path, config):
    (tmp_path / "base").mkdir()
    (tmp_path / "adapter").mkdir()
    hf.save(fresh(), tmp_path / "base", eos_token_id=3, pad_token_id=1)
    ours = (lengthened if config.decomposed else moved)(AdaptedModel(fresh(), config))
    adapter_files.save(ours, tmp_path / "adapter", str(tmp_path / "base"))
    theirs = peft.PeftModel.from_pretrained(open_theirs(tmp_path / "base"), str(tmp_path / "adapter")).eval()
    names = {n for n, _ in theirs.named_parameters() if "lora_A" in n}
    assert len(names) == len(ours.linears)
    with torch.no_grad():
        torch.testing.assert_close(logits(ours), theirs(INPUTS).logits, rtol=1e-4, atol=1e-5)


@OLD_NAME
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize("stabilised", [False, True])
def test_gpt2s_joined_map_is_adapted_in_peft_as_here_both_ways(tmp_path, stabilised):
    """q, k and v are one transposed map there: our three adapters are one of three times the rank, theirs one A for all."""
    shape = transformers.GPT2Config(
        vocab_size=128, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    base = tmp_path / "base"
    transformers.GPT2LMHeadModel(shape).save_pretrained(base)
    ours = moved(AdaptedModel(hf.load_language_model(base), AdapterConfig(rank=3, alpha=5, rank_stabilised=stabilised)))
    (tmp_path / "ours").mkdir()
    adapter_files.save(ours, tmp_path / "ours", str(base))
    theirs = peft.PeftModel.from_pretrained(open_theirs(base), str(tmp_path / "ours")).eval()
    with torch.no_grad():
        torch.testing.assert_close(logits(ours), theirs(INPUTS).logits, rtol=1e-4, atol=1e-5)
    again = adapter_files.load(tmp_path / "ours", hf.load_language_model(base))
    torch.testing.assert_close(logits(again), logits(ours), rtol=1e-4, atol=1e-5)

    wanted = peft.LoraConfig(
        r=4, lora_alpha=8, use_rslora=stabilised, target_modules=["c_attn", "c_fc"], task_type="CAUSAL_LM",
        rank_pattern={"c_fc": 2}, alpha_pattern={"0.mlp.c_fc": 3}, fan_in_fan_out=True,
    )  # fmt: skip
    theirs = peft.get_peft_model(open_theirs(base), wanted).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    loaded = adapter_files.load(tmp_path / "theirs", hf.load_language_model(base))
    with torch.no_grad():
        torch.testing.assert_close(logits(loaded), theirs(INPUTS).logits, rtol=1e-4, atol=1e-5)


@OLD_NAME
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "up_proj"], r".*\.0\..*_proj"])
def test_we_open_pefts_adapter_with_equal_logits_and_write_with_it(tmp_path, targets):
    base = tmp_path / "base"
    base.mkdir()
    hf.save(fresh(), base, eos_token_id=3, pad_token_id=1)
    wanted = peft.LoraConfig(r=4, lora_alpha=8, use_rslora=True, target_modules=targets, task_type="CAUSAL_LM")
    theirs = peft.get_peft_model(open_theirs(base), wanted).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
        expected = theirs(INPUTS).logits
        written = theirs.generate(input_ids=INPUTS[:1, :8], max_new_tokens=12, do_sample=False, eos_token_id=None)
    theirs.save_pretrained(tmp_path / "adapter")
    assert adapter_files.is_adapter(tmp_path / "adapter")
    assert adapter_files.base_of(tmp_path / "adapter") == base
    torch.testing.assert_close(
        logits(adapter_files.load(tmp_path / "adapter", hf.load_language_model(base))), expected, rtol=1e-4, atol=1e-5
    )
    merged = adapter_files.load_merged(tmp_path / "adapter")
    sample = Engine(merged).generate([Request(tuple(INPUTS[0, :8].tolist()), Sampling(max_tokens=12, temperature=0.0))])
    assert list(sample[0].ids) == written[0, 8:].tolist()


@OLD_NAME
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize("targets", [(), ("q_proj", "up_proj"), ("0.self_attn.v_proj",)])
@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_pefts_decomposed_adapter_is_ours_both_ways_with_equal_gradients(tmp_path, family, targets):
    base = tmp_path / "base"
    base.mkdir()
    if family == "gpt2":
        shape = transformers.GPT2Config(
            vocab_size=128, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        transformers.GPT2LMHeadModel(shape).save_pretrained(base)
    else:
        hf.save(fresh(), base, eos_token_id=3, pad_token_id=1)
    config = dataclasses.replace(DORA, targets=targets)
    ours = lengthened(AdaptedModel(hf.load_language_model(base), config))
    (tmp_path / "ours").mkdir()
    adapter_files.save(ours, tmp_path / "ours", str(base))
    theirs = peft.PeftModel.from_pretrained(open_theirs(base), str(tmp_path / "ours"), is_trainable=True).eval()
    found = theirs(INPUTS).logits
    torch.testing.assert_close(logits(ours), found, rtol=1e-4, atol=1e-5)
    found.square().mean().backward()
    ours.logits(ours(INPUTS)).float().square().mean().backward()
    grads = {n: p.grad for n, p in theirs.named_parameters() if "lora_magnitude" in n}
    assert len(grads) == len({adapter_files._place_of(ours.base, n).name for n in ours.linears})
    for name, linear in ours.linears.items():
        place = adapter_files._place_of(ours.base, name)
        (grad,) = [g for n, g in grads.items() if f".{place.name}.lora_magnitude" in n]
        grad = grad if place.part is None else grad.chunk(3)[place.part]
        torch.testing.assert_close(linear.lora_magnitude.grad, grad, rtol=1e-4, atol=1e-6)

    theirs.save_pretrained(tmp_path / "theirs")
    again = adapter_files.load(tmp_path / "theirs", hf.load_language_model(base))
    assert again.adapter.decomposed
    torch.testing.assert_close(logits(again), logits(ours), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        logits(adapter_files.load_merged(tmp_path / "theirs")), found.detach(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("change", [{}, {"decomposed": True}], ids=["plain", "decomposed"])
def test_save_and_load_give_the_same_model_and_the_same_file(tmp_path, change):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ours = moved(AdaptedModel(fresh(), AdapterConfig(rank=3, alpha=7, dropout=0.1, base="float32", **change)))
    adapter_files.save(ours, tmp_path / "a", "x")
    again = adapter_files.load(tmp_path / "a", fresh())
    assert torch.equal(logits(again), logits(ours))
    adapter_files.save(again, tmp_path / "b", "x")
    for name in (adapter_files.CONFIG_FILE, adapter_files.WEIGHTS_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use_dora": True}, "lora_magnitude_vector"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa"),
        ({"r": 5}, "shape"),
        ({"r": None}, "r = null"),
    ],
)
def test_an_adapter_that_computes_something_else_is_refused_by_name(tmp_path, change, told):
    adapter_files.save(AdaptedModel(fresh(), AdapterConfig(rank=3)), tmp_path, "x")
    file = tmp_path / adapter_files.CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        adapter_files.load(tmp_path, fresh())


def test_a_missing_damaged_or_foreign_adapter_costs_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is missing"):
        adapter_files.load(tmp_path, fresh())
    adapter_files.save(AdaptedModel(fresh(), AdapterConfig(rank=3)), tmp_path, "nowhere")
    with pytest.raises(CheckpointError, match="does not have"):
        adapter_files.load(tmp_path, fresh(num_hidden_layers=1))
    with pytest.raises(CheckpointError, match="shape"):
        adapter_files.load(tmp_path, fresh(intermediate_size=64))
    with pytest.raises(CheckpointError, match="'nowhere'"):
        adapter_files.base_of(tmp_path)
    weights = tmp_path / adapter_files.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        adapter_files.load(tmp_path, fresh())
    weights.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        adapter_files.load(tmp_path, fresh())


@pytest.mark.parametrize(("field", "value"), [("rank", 0), ("alpha", 0.0), ("dropout", 1.0)])
def test_an_adapter_that_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        AdapterConfig(**{field: value})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"r": 10**30}, "has r"),
        ({"r": True}, "has r"),
        ({"lora_alpha": "strong"}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha|digits"),
        ({"lora_dropout": 3.0}, "dropout"),
        ({"use_rslora": "no"}, "use_rslora"),
        ({"rank_pattern": 3}, "rank_pattern"),
        ({"alpha_pattern": {"(": 1.0}}, "alpha_pattern"),
        ({"alpha_pattern": {"q_proj": "x"}}, "alpha_pattern"),
        ({"base_model_name_or_path": ["x"]}, "base_model_name_or_path"),
    ],
)
def test_an_adapters_config_of_another_shape_is_refused_by_name(tmp_path, change, told):
    adapter_files.save(AdaptedModel(fresh(), AdapterConfig(rank=3)), tmp_path, "x")
    file = tmp_path / adapter_files.CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        adapter_files.load(tmp_path, fresh())

"""What runs on a GPU gives what runs on the CPU. `test_gpu.py` starts this, with a pretended GPU where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._triton import has_triton

from jielong import generate
from jielong.data.shards import TokenArray
from jielong.data.steps import PackedTokens
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.graphs import Graphs
from jielong.model.attention import make_block_mask
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.recipes.quickstart import quickstart
from jielong.records import Request, Sampling
from jielong.stages.execute import run_recipe
from jielong.stages.picking import rows_for_gpu
from jielong.stages.recipe import change
from jielong.train.loop import Loop, LoopConfig
from jielong.train.machine import compile_layers, compiled_matches_eager, measure_machine
from jielong.train.objectives.logprobs import compiled_cross_entropy_matches
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.sources import RowsConfig

pytestmark = pytest.mark.filterwarnings(
    "ignore:Attempting to run cuBLAS", "default:.*TensorFloat32", "default:.*script_method"
)
IS_PRETENDED = torch.cuda.get_device_name() == "pretended"
V = 90
OURS = ModelConfig(V, 32, 48, 2, 4, 2, 16, 400)
WINDOWS = dataclasses.replace(OURS, sandwich_norms=True, sliding_window=9, sliding_layers=(0,), norm_offset=1.0)
GPT2 = ModelConfig(
    V, 32, 48, 2, 4, 4, 8, 400, norm="layer", learned_positions=True, gated_mlp=False, mlp_bias=True, output_bias=True,
    attention_bias=True, qk_norm=False, hidden_act="gelu_pytorch_tanh",
)  # fmt: skip
EXPERTS = dataclasses.replace(OURS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)


def lively(config: ModelConfig, seed: int = 0) -> LanguageModel:
    """Weights so large that no two tokens are nearly as likely."""
    model = fresh_language_model(config, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    return model


def on_gpu(model: LanguageModel) -> LanguageModel:
    moved = LanguageModel(model.config)
    moved.load_state_dict(model.state_dict())
    return moved.to("cuda")


def requests() -> list[Request]:
    """Prompts of all lengths, some that repeat themselves; greedy, drawn, cut and penalised."""
    random = np.random.default_rng(0)
    prompts = [tuple(random.integers(0, V, n).tolist()) for n in (3, 17, 1, 40, 8, 200)]
    prompts += [(*prompts[0], *prompts[1]) * 3, tuple(range(20)) * 2]
    kinds = (
        Sampling(max_tokens=24, temperature=0),
        Sampling(max_tokens=11),
        Sampling(max_tokens=70, temperature=0.5, top_p=0.8),
        Sampling(max_tokens=9, temperature=1.2, top_k=20, repetition_penalty=1.2),
    )
    return [Request(prompt, kinds[i % 4], seed=i) for i, prompt in enumerate(prompts)]


def alike(model: LanguageModel, other: LanguageModel | None = None, slots: int = 5) -> Engine:
    """Write on the GPU as on the CPU, before and after `other`'s weights are loaded; the GPU's engine."""
    engines = [Engine(place, EngineConfig(slots=slots)) for place in (model, on_gpu(model))]
    for state in [model, other] if other else [model]:
        for engine in engines:
            engine.load(state.state_dict(), 0)
        here, there = (engine.generate(requests()) for engine in engines)
        for request, a, b in zip(requests(), here, there, strict=True):
            if IS_PRETENDED or not request.sampling.temperature:  # another rounding may draw another token
                assert a.ids == b.ids
                assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)
    return engines[1]


@pytest.mark.parametrize("config", [OURS, WINDOWS, GPT2], ids=["ours", "windows", "gpt2"])
def test_captured_passes_write_what_the_cpu_writes(config: ModelConfig) -> None:
    engine = alike(lively(config), lively(config, seed=1))
    assert engine._graphs is not None
    widths = {width for _, width, _, _ in engine._graphs.passes}
    assert 1 in widths and len(widths) > 1, "drafts go through graphs too"
    assert len(engine._graphs.passes) < 20, "shapes are few"
    assert engine.counts.accepted > 0


def test_experts_write_without_graphs() -> None:
    assert alike(lively(EXPERTS))._graphs is None


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_kept_weights_are_replaced_in_their_places(weights: str) -> None:
    model, other = lively(OURS), lively(OURS, seed=1)
    config = EngineConfig(slots=2, weights=weights)
    fresh = [Engine(on_gpu(of), config).generate(requests()[:4]) for of in (model, other)]
    engine = Engine(on_gpu(model), config)
    assert engine.generate(requests()[:4]) == fresh[0]
    engine.load(other.state_dict(), 0)
    assert [s.ids for s in engine.generate(requests()[:4])] == [s.ids for s in fresh[1]]


def test_one_who_watches_sees_the_same_alternatives() -> None:
    model = lively(OURS)
    told = []
    for place in (model, on_gpu(model)):
        engine = Engine(place, EngineConfig(slots=2))
        told.append([event.alternatives for event in engine.stream(requests()[2], num_alternatives=3)])
        assert engine.score((1, 2, 3), (4, 5)) == pytest.approx(Engine(model).score((1, 2, 3), (4, 5)), abs=1e-4)
    for here, there in zip(*told, strict=True):
        assert [id for id, _ in here] == [id for id, _ in there]


def test_shapes_grow_by_no_more_than_a_quarter() -> None:
    model = on_gpu(lively(dataclasses.replace(OURS, max_position_embeddings=5000)))
    engine = Engine(model, EngineConfig(slots=3))
    graphs = engine._graphs
    assert isinstance(graphs, Graphs)
    ids = np.zeros(3, np.int64)
    for length, seen in ((1, 256), (256, 256), (257, 512), (1025, 1280), (1280, 1280), (4097, 5000), (4096, 4096)):
        graphs.passes.clear()
        graphs.decode(ids, ids + length - 1, np.arange(3), length)
        assert [*graphs.passes] == [(3, 1, 3, seen)]


def test_the_shapes_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate.graphs, "KEPT", 3)
    model = lively(OURS)
    engine = alike(model)
    assert engine._graphs is not None and len(engine._graphs.passes) == 3
    for request in requests():  # the logits of many rows are larger, and all graphs are captured anew for them
        assert engine.generate([request])[0].ids == Engine(model).generate([request])[0].ids


# Training ----------------------------------------------------------------------------------------------------------


def train(device: str, path: Path, config: ModelConfig, optimizer: str, dtype: torch.dtype) -> list[float]:
    """Losses of five steps over packed documents, in two micro-batches each; saved, and gone on from step 3."""
    random = np.random.default_rng(0)
    documents = TokenArray.of([random.integers(0, V, n) for n in random.integers(5, 200, 40)])
    losses: list[float] = []
    for steps in (3, 5):
        model = lively(config).to(device)
        model.model.compute_dtype = dtype
        loop = Loop(
            {"policy": model},
            {"policy": Optimizer(model, OptimizerConfig(optimizer, lr=3e-3), dtype)},
            PackedTokens(documents, length=160, rows_per_step=4, micro_rows=2, seed=0),
            NextToken(balance=0.01 if config.num_experts else 0.0),
            LoopConfig(steps=steps, save_every_s=-1),
            path / device,
            lambda module, folder: torch.save(module.state_dict(), folder / "weights.pt"),
            report=lambda progress: losses.append(progress.loss),
        )
        _restore(model, path / device)
        loop.run()
    return losses


def _restore(model: nn.Module, directory: Path) -> None:
    """The loop finds its state; the weights beside it are whoever's who saved them."""
    for file in sorted(directory.glob("steps/*/model/weights.pt"))[-1:]:
        model.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize(
    ("config", "optimizer"),
    [(OURS, "adamw"), (OURS, "muon"), (WINDOWS, "adamw"), (GPT2, "adamw"), (EXPERTS, "adamw")],
    ids=["ours", "muon", "windows", "gpt2", "experts"],
)
def test_training_takes_the_steps_that_the_cpu_takes(tmp_path: Path, config: ModelConfig, optimizer: str) -> None:
    here, there = (train(device, tmp_path, config, optimizer, torch.float32) for device in ("cpu", "cuda"))
    assert len(here) == 5 and len(set(here)) == 5
    assert there == pytest.approx(here, rel=1e-3)


def test_packed_rows_are_told_in_blocks() -> None:
    model = on_gpu(fresh_language_model(WINDOWS, 0)).model
    segments = torch.tensor([[1] * 100 + [2] * 100 + [0] * 56], device="cuda")
    positions = torch.arange(256, device="cuda")[None]
    assert model.layer_inputs(positions, segments)[1][1].shape == (1, 256, 256), "a mask, made once, for plain layers"
    compile_layers(model)
    near, all_before = (seen for _, seen in model.layer_inputs(positions, segments))
    mine = make_block_mask(segments, 0)
    assert type(near) is type(all_before) is type(mine)
    assert all_before.kv_num_blocks.tolist() == mine.kv_num_blocks.tolist()
    alone = model.layer_inputs(positions, None)
    assert alone[1][1] is None, "the fused kernel needs no mask for whole rows"


@pytest.mark.skipif(IS_PRETENDED, reason="kernels are made for a real one")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [128, 300])
@pytest.mark.parametrize(("width", "heads"), [(16, 2), (64, 3), (80, 2), (128, 4), (256, 2)])
def test_compiled_layers_and_loss_are_the_plain_ones(width: int, heads: int, length: int, dtype: torch.dtype) -> None:
    shape = ModelConfig(1003, 256, 512, 2, heads, heads // 2 or 1, width, 512, sliding_window=100, sliding_layers=(1,))
    if heads == 3:
        shape = dataclasses.replace(shape, num_key_value_heads=1)
    model = fresh_language_model(shape, 0).to("cuda")
    model.model.compute_dtype = dtype
    compile_layers(model.model)
    assert compiled_matches_eager(model.model, rows=6, length=length)
    assert compiled_cross_entropy_matches(model)


# The road ----------------------------------------------------------------------------------------------------------


def test_a_gpu_is_taken_and_the_road_leads_over_it(tmp_path: Path) -> None:
    machine = measure_machine()
    assert machine.device == "cuda" and machine.can_compile == has_triton() and machine.gflops > 0
    fewer = ("pretrain.loop.steps=15", "sft.loop.steps=8", "rl.loop.steps=4", "rl.source.prompts=16")
    recipe = change(quickstart("smoke"), fewer)
    until = [stage.name for stage in recipe.stages].index("rl") + 1
    run = run_recipe(dataclasses.replace(recipe, stages=recipe.stages[:until], mirrored={}, searches=()), tmp_path)
    assert run.record["machine"]["device"] == "cuda"
    for name in ("pretrain", "sft", "reward", "rl"):
        last = run.record["stages"][name]["summary"]["last"]
        assert np.isfinite(last["loss"]) and last["refused"] == 0
    picked = {name: run.record["stages"][name]["summary"]["picked"] for name in ("pretrain", "reward")}
    assert all(found["micro_rows"] == 8 for found in picked.values()), "a whole step of so small a model fits"


def test_a_micro_batch_is_what_a_step_has_or_the_gpu_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 << 30, 16 << 30))
    module = on_gpu(fresh_language_model(OURS, 0))
    asked = RowsConfig(length=400, rows_per_step=96, micro_rows=4)
    assert rows_for_gpu(asked, module.model, 1) == 96
    assert rows_for_gpu(asked, module.model, 4) == 24
    # 65,536 tokens are 32 rows of 2,048; of what divides 96 that is 32 too
    assert rows_for_gpu(dataclasses.replace(asked, length=2048), module.model, 1) == 32
    large = ModelConfig(V, 4096, 16384, 32, 32, 8, 128, 400)
    with torch.device("meta"):
        module = LanguageModel(large)
    # by hand: 8*4096 + 8*4096 + 4*40*128 + 4*112*128 + 16*16384 = 405,504 bytes a token and layer, 32 layers; 13 MB a token
    # of float32, and half of what is free (8 GiB) holds 330 of them: not one row
    assert rows_for_gpu(asked, module.model, 1) == 4

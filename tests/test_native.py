"""The decoder in C++ against the same in torch, for every instruction set that this processor has."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from jielong.generate import native
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.matrices import NativeLinear
from jielong.generate.native import NativeDecoder
from jielong.generate.packed import PackedModel
from jielong.model.transformer import LanguageModel, ModelConfig, RopeScaling, fresh_language_model
from jielong.native import build, library
from jielong.records import Request, Sampling

Logits = Callable[..., list[torch.Tensor]]

V = 150
BASE = ModelConfig(
    vocab_size=V,
    hidden_size=48,
    intermediate_size=72,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=24,
    max_position_embeddings=96,
)
# widths that fill whole vectors of every kind, and widths that leave a rest everywhere
SHAPES: dict[str, dict[str, Any]] = {
    "rests everywhere": {},
    "whole vectors": {"hidden_size": 128, "intermediate_size": 192, "head_dim": 32},
    "no norm of queries": {"qk_norm": False, "attention_bias": True, "mlp_bias": True, "output_bias": True},
    "windows": {"sliding_window": 5, "sliding_layers": (0, 2)},
    "layers without rotary": {"no_rope_layers": (1,)},
    "scaled rotary": {"rope_scaling": RopeScaling("yarn", 4.0, 32)},
    "two thetas, norms after, gelu": {
        "model_type": "gemma3_text",
        "sandwich_norms": True,
        "norm_offset": 1.0,
        "hidden_act": "gelu_pytorch_tanh",
        "local_rope_theta": 100.0,
        "sliding_window": 4,
        "sliding_layers": (0, 1),
        "embedding_scale": 6.0,
    },
    "layer norm, learned positions, no gate, untied": {
        "norm": "layer",
        "learned_positions": True,
        "gated_mlp": False,
        "qk_norm": False,
        "attention_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}


def lively(config: ModelConfig) -> LanguageModel:
    """Weights large enough that each matters."""
    model = fresh_language_model(config, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.mul_(6)
    return model


def libraries() -> list[str]:
    return [name for name in library.runnable_variants() if build.library_file(name).exists()]


@pytest.fixture(params=libraries() or [None])
def built(request: pytest.FixtureRequest) -> ctypes.CDLL:
    if request.param is None:
        pytest.skip("the C++ was not built here: no compiler, or not for this processor")
    return ctypes.CDLL(str(build.library_file(request.param)))


@pytest.fixture
def logits(built: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Logits:
    def logits(
        way: str, config: ModelConfig, dtype: torch.dtype, kept: torch.dtype | None = None
    ) -> list[torch.Tensor]:
        """Of some passes: two stretches, single tokens of two slots, several of one.

        Ways: "decoder", all in C++; "products", only these in C++; "torch".
        """
        monkeypatch.setattr(native, "library", lambda: None if way == "torch" else built)
        model = PackedModel(config, dtype, torch.device("cpu"), 96, kept)
        model.load(lively(config).state_dict())
        if way == "products":
            model.native = None
        cache = model.new_cache(4, 80)
        read = model.prefill(cache, torch.arange(3, 17), [0, 2], [0, 0], [5, 9])
        extended = model.extend(cache, torch.tensor([1, 2, 3]), torch.tensor([5, 0, 9]), torch.tensor([0, 2]), 32)
        further = model.prefill(cache, torch.arange(20, 31), [2], [10], [11])
        return [model.logits(hidden) for hidden in (read, extended, further)]

    return logits


@pytest.mark.parametrize("way", ["decoder", "products"])
@pytest.mark.parametrize("shape", SHAPES)
def test_cpp_equals_torch_in_float32_for_every_piece_of_every_family(logits, shape, way):
    config = replace(BASE, **SHAPES[shape])
    for here, there in zip(logits(way, config, torch.float32), logits("torch", config, torch.float32), strict=True):
        assert there.std() > 0.1
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["decoder", "products"])
def test_cpp_in_bfloat16_is_as_near_to_float32_as_torch_is(logits, way):
    def distance(way: str, config: ModelConfig) -> float:
        exact, half = logits("torch", config, torch.float32), logits(way, config, torch.bfloat16)
        return sum(float((a - b).square().sum()) for a, b in zip(exact, half, strict=True))

    for shape in SHAPES.values():
        config = replace(BASE, **shape)
        assert distance(way, config) <= 1.2 * distance("torch", config)


@pytest.mark.parametrize("way", ["decoder", "products"])
def test_cpp_multiplies_int8_weights_as_torch_does_in_float32(logits, way):
    for shape in SHAPES.values():
        config = replace(BASE, **shape)
        ways = (logits(one, config, torch.float32, torch.int8) for one in (way, "torch"))
        for here, there in zip(*ways, strict=True):
            # 16 bits for the tokens are all that differs
            torch.testing.assert_close(here, there, rtol=2e-3, atol=2e-3 * float(there.std()))


def test_sums_of_int8_products_fit_however_wide_a_matrix_is(built):
    # the largest of all sums: each weight and each number of the token is the largest of its row
    columns = 12_000
    linear = NativeLinear(built, torch.int8)
    linear.load(torch.ones(17, columns))
    for value in (3.0, -3.0):
        torch.testing.assert_close(
            linear(torch.full((1, columns), value)), torch.full((1, 17), value * columns), rtol=1e-3, atol=0
        )


@pytest.mark.parametrize("way", ["decoder", "products"])
def test_weights_kept_in_bfloat16_are_multiplied_as_torch_does_in_float32(logits, way, built):
    for shape in SHAPES.values():
        config = replace(BASE, **shape)
        ways = (logits(one, config, torch.float32, torch.bfloat16) for one in (way, "torch"))
        # those that multiply bfloat16 round the tokens too
        error = 3e-2 if hasattr(built, "jielong_attend_half") else 1e-5
        for here, there in zip(*ways, strict=True):
            assert (here - there).square().mean().sqrt() <= error * there.std()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_a_token_becomes_the_same_beside_any_number_of_others(built, dtype):
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((71, 45), (160, 64)):
        linear = NativeLinear(built, dtype)
        linear.load(torch.randn(rows, columns, generator=generator), torch.randn(rows, generator=generator))
        x = torch.randn(150, columns, generator=generator)
        together = linear(x)
        for n in (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31, 129):
            assert torch.equal(linear(x[:n]), together[:n])
            assert torch.equal(linear(x[-n:]), together[-n:])


@pytest.mark.parametrize("width", [5, 16, 150, 4097])
def test_the_likeliest_is_the_first_of_the_largest_with_its_log_probability(built, monkeypatch, width):
    monkeypatch.setattr(native, "library", lambda: built)
    logits = 9 * torch.randn(7, width, generator=torch.Generator().manual_seed(width))
    logits[0] = -3.0
    logits[1, [2, 4]] = 50.0
    logits[2, -1] = 60.0
    ids, logprobs = native.likeliest(logits)
    assert torch.equal(ids, logits.argmax(-1))
    assert ids[:3].tolist() == [0, 2, width - 1]
    torch.testing.assert_close(logprobs, torch.log_softmax(logits, -1).amax(-1), atol=1e-6, rtol=1e-5)


def test_products_of_torch_between_those_of_the_cpp_stay_right(built):
    linear = NativeLinear(built, torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, 64, generator=generator).bfloat16() for _ in range(2))
    linear.load(a.float())
    before, here = a @ b, linear(b.float())
    for _ in range(3):
        assert torch.equal(a @ b, before)
        assert torch.equal(linear(b.float()), here)


def test_a_row_of_the_decoder_becomes_the_same_beside_any_number_of_others(built, monkeypatch):
    monkeypatch.setattr(native, "library", lambda: built)
    for dtype in (torch.float32, torch.bfloat16):
        model = PackedModel(BASE, dtype, torch.device("cpu"), 96)
        model.load(lively(BASE).state_dict())

        def hidden(n: int, model: PackedModel = model) -> torch.Tensor:
            cache, slots = model.new_cache(40, 8), torch.arange(n)
            for position in range(3):
                out = model.extend(cache, slots + position, torch.full((n,), position), slots, 8)
            return out

        together = hidden(40)
        assert all(torch.equal(hidden(n), together[:n]) for n in (1, 3, 8, 9, 17, 33))


@pytest.mark.parametrize("threads", [2, 9])
def test_more_threads_than_cores_write_the_same(built, monkeypatch, threads):
    # of few tokens each thread makes its own things, of many they share them
    monkeypatch.setattr(native, "library", lambda: built)
    model = PackedModel(BASE, torch.float32, torch.device("cpu"), 96)
    model.load(lively(BASE).state_dict())

    def hidden() -> torch.Tensor:
        cache, slots, found = model.new_cache(40, 8), torch.arange(40), list[torch.Tensor]()
        for at, count in ((0, 40), (1, 3), (2, 1), (2, 40)):
            found.append(model.extend(cache, slots, torch.full((40,), at), slots[:count], 8))
        return torch.cat(found)

    alone, before = hidden(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert all(torch.equal(hidden(), alone) for _ in range(20))
    finally:
        torch.set_num_threads(before)


def test_dismissed_threads_end_and_new_ones_take_their_place():
    if library.library() is None or not Path("/proc/self/task").exists():
        pytest.skip("the C++ was not built here, or the system does not list threads")
    code = """
import os, torch
from jielong.native.library import dismiss_threads
torch.set_num_threads(3)
for _ in range(2):
    before = len(os.listdir("/proc/self/task"))
    torch.ones(1 << 20).exp_()
    assert len(os.listdir("/proc/self/task")) == before + 2
    dismiss_threads()
    assert len(os.listdir("/proc/self/task")) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_engine_writes_the_same_without_the_library(monkeypatch):
    if native.library() is None:
        pytest.skip("there is no library to do without")
    model = lively(BASE)
    requests = [Request((1, 2, 3), Sampling(max_tokens=40, temperature=0)) for _ in range(3)]
    with_it = Engine(model, EngineConfig(slots=3))
    assert with_it._model.native is not None
    monkeypatch.setattr(native, "library", lambda: None)
    without = Engine(model, EngineConfig(slots=3))
    assert without._model.native is None
    assert [s.ids for s in with_it.generate(requests)] == [s.ids for s in without.generate(requests)]


def test_what_the_cpp_does_not_know_is_left_to_torch():
    experts = replace(BASE, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=24, model_type="qwen3_moe")
    dynamic = replace(BASE, rope_scaling=RopeScaling("dynamic", 2.0, 32))
    for config in (experts, dynamic):
        assert not NativeDecoder.supports(config, torch.device("cpu"))
        assert Engine(lively(config), EngineConfig(slots=1))._model.native is None


def test_new_weights_reach_the_cpp():
    engine = Engine(lively(BASE), EngineConfig(slots=1))
    before = engine.score((1, 2), (3, 4))
    engine.load(fresh_language_model(BASE, 5).state_dict(), 1)
    after = engine.score((1, 2), (3, 4))
    fresh = Engine(fresh_language_model(BASE, 5), EngineConfig(slots=1)).score((1, 2), (3, 4))
    assert after == fresh != before


def test_without_a_compiler_nothing_is_built_and_what_is_old_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "_native_avx2_00000000.so").write_bytes(b"built from other code")
    assert build.build() == []
    assert list(tmp_path.iterdir()) == []


def test_a_library_built_from_other_code_is_not_used_and_the_user_is_told(tmp_path, monkeypatch):
    if not library.runnable_variants():
        pytest.skip("no library fits this processor")
    monkeypatch.setattr(library, "HERE", tmp_path)
    monkeypatch.setattr(library, "library_file", lambda name: tmp_path / f"_native_{name}_new.so")
    for name in library.runnable_variants():
        (tmp_path / f"_native_{name}_old.so").write_bytes(b"")
    with pytest.warns(UserWarning, match="install again"):
        assert library.library.__wrapped__() is None


def test_attention_without_gradients_loads_no_compiler():
    # it would keep the first answer of a server waiting for seconds
    code = """
import sys
import torch
from jielong.native.attention import attention
q, kv = torch.randn(2, 8, 2, 16), torch.randn(2, 8, 1, 16)
with torch.inference_mode():
    attention(q, kv, kv, torch.zeros(2, 8, dtype=torch.int32), 0.25)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

"""What is picked on machines unlike this one, and that they learn and write the same: older CPUs are imitated by torch's switches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jielong.data.batches import pack_chats
from jielong.errors import ConfigError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Request, Sampling
from jielong.tokens.chat import Rendered
from jielong.train.machine import (
    Machine,
    choose_device,
    choose_dtype,
    compile_layers,
    compiled_matches_eager,
    has_compiler,
    measure_machine,
    trains_like_cpu,
    uncompile_layers,
)
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig

# weights large enough that no two tokens are nearly as likely
TINY = ModelConfig(67, 32, 48, 2, 4, 2, 16, 64, initializer_range=0.3)
PROMPTS = [tuple(range(5, 18)), (9, 40, 2), tuple(range(60, 20, -1))]


def five_steps(dtype: torch.dtype) -> tuple[LanguageModel, list[float]]:
    """A model after five steps on the same two rows, and the loss of each."""
    model = fresh_language_model(TINY, seed=1)
    model.model.compute_dtype = dtype
    ids = torch.randint(0, TINY.vocab_size, (2, 48), generator=torch.Generator().manual_seed(0)).tolist()
    batch, _ = pack_chats([Rendered(tuple(row), (True,) * 48) for row in ids], 48)
    optimizer = Optimizer(model, OptimizerConfig(lr=1e-3))
    losses = []
    for _ in range(5):
        total, weight = NextToken()({"policy": model}, batch).terms["loss"]
        (total / weight).backward()
        optimizer.step(1.0)
        losses.append(float(total.detach() / weight))
    return model, losses


def learn_and_write(dtype: str = "float32") -> dict[str, Any]:
    model, losses = five_steps({"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype])
    samples = Engine(model, EngineConfig(slots=2, dtype=dtype)).generate(
        [Request(prompt, Sampling(max_tokens=20, temperature=0)) for prompt in PROMPTS]
    )
    return {"losses": losses, "ids": [list(sample.ids) for sample in samples]}


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    model, _ = five_steps(torch.float32)
    found = learn_and_write()
    for prompt, ids in zip(PROMPTS, found["ids"], strict=True):
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([[*prompt, *ids]])))[0, len(prompt) - 1 : -1]
        assert logits.topk(2).values.diff().abs().min() > 1e-3, "or the comparison means nothing"
    return found


@pytest.mark.parametrize(
    ("switch", "capability"),
    [
        ("ONEDNN_MAX_CPU_ISA=AVX2", None),
        ("ATEN_CPU_CAPABILITY=avx2", "AVX2"),
        ("ATEN_CPU_CAPABILITY=default", "DEFAULT"),
    ],
)
def test_an_older_cpu_learns_and_writes_the_same(switch: str, capability: str | None, here: dict[str, Any]) -> None:
    name, _, value = switch.partition("=")
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__],
        env=os.environ | {name: value, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    if capability and torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        assert there["capability"] == capability
    assert there["float32"]["losses"] == pytest.approx(here["losses"], abs=1e-4)
    assert there["float32"]["ids"] == here["ids"]
    assert there["picked"]["losses"] == pytest.approx(here["losses"], abs=0.05)
    assert there["machine"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert there["machine"]["gflops"] > 0
    if not there["has_bfloat16"]:
        assert there["machine"]["dtype"] == "float32", "bf16 without instructions for it is slower, not faster"


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_device_is_the_best_that_is_there(has_cuda: bool, has_mps: bool, device: str) -> None:
    assert choose_device(has_cuda, has_mps) == device


def test_bfloat16_is_taken_where_it_is_right_and_clearly_faster() -> None:
    assert choose_dtype(100.0, 250.0) == "bfloat16"
    assert choose_dtype(100.0, 110.0) == "float32"
    assert choose_dtype(100.0, 0.0) == "float32"


def test_a_device_that_lacks_an_operation_is_not_taken() -> None:
    assert trains_like_cpu("cpu")
    assert not trains_like_cpu("meta"), "its numbers cannot be looked at"


def test_float16_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="products in 'float16' are not available; expected one of float32, bfloat16"):
        Machine(dtype="float16")
    with pytest.raises(ConfigError, match="engine dtype 'float16' is not available; expected one of float32, bfloat16"):
        EngineConfig(dtype="float16")


class NoFloat64(TorchDispatchMode):
    """Refuses what Apple's GPUs have not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            is_on_device = isinstance(tensor, torch.Tensor) and tensor.dim() > 0
            assert not (is_on_device and tensor.dtype in (torch.float64, torch.complex128)), func
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_training_makes_no_float64_tensor(name: str, dtype: torch.dtype) -> None:
    model = fresh_language_model(TINY, seed=1)
    batch, _ = pack_chats([Rendered(tuple(range(30)), (True,) * 30)], 32)
    optimizer = Optimizer(model, OptimizerConfig(name=name), dtype)  # type: ignore[arg-type]
    with NoFloat64():
        total, weight = NextToken()({"policy": model}, batch).terms["loss"]
        (total / weight).backward()
        optimizer.step(1.0)


# Compiling -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_a_compiled_layer_gives_the_gradients_of_a_plain_one():
    # of this shape GCC 12 made a wrong gradient on a processor with AMX
    config = ModelConfig(67, 64, 64, 1, 2, 1, 32, 128)
    model = fresh_language_model(config, seed=0)
    model.model.compute_dtype = torch.bfloat16
    compile_layers(model.model)
    assert model.model.layers[0]._compiled_call_impl is not None
    assert compiled_matches_eager(model.model, rows=8, length=128)


class TooLarge(torch.autograd.Function):
    """The identity, whose gradient is too large by a fifth."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * 1.2


@pytest.mark.parametrize("wrong", [lambda x: x * float("nan"), TooLarge.apply])
def test_a_compiled_layer_that_is_wrong_is_found(wrong):
    model = fresh_language_model(TINY, seed=0)
    layer = model.model.layers[-1]
    layer._compiled_call_impl = layer._call_impl
    assert compiled_matches_eager(model.model, rows=2, length=32)
    layer._compiled_call_impl = lambda x, *rest: layer._call_impl(wrong(x), *rest)
    assert not compiled_matches_eager(model.model, rows=2, length=32)
    uncompile_layers(model.model)
    assert compiled_matches_eager(model.model, rows=2, length=32)


if __name__ == "__main__":
    machine = measure_machine()
    print(
        json.dumps(
            {
                "machine": machine.__dict__,
                "capability": torch.backends.cpu.get_cpu_capability(),
                "has_bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
                "float32": learn_and_write(),
                "picked": learn_and_write(machine.dtype),
            }
        )
    )

"""The machine's abilities, measured once at the start of a run and kept when it resumes.

Device, number format of the matrix products, threads, and whether compiling pays. Nobody has to set them; the choice is
written down, because two formats give two slightly different runs.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._triton import has_triton

from jielong.errors import ConfigError
from jielong.model.transformer import Layer, LayerInputs, Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""float16 is none of them: its gradients need a scale that is watched, and a CPU has no products in it."""


PLAIN_ROWS = 4
"""Rows of which plain and compiled layers are compared on a GPU."""


@dataclass(frozen=True)
class Machine:
    """The machine and the choices for it. `dtype` is that of matrix products and caches; `gflops` is the measured speed
    of its products.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    can_compile: bool = False
    gflops: float = 0.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"products in {self.dtype!r} are not available; expected one of {', '.join(DTYPES)}")

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]


def product_speeds(
    dtypes: Sequence[torch.dtype], device: str, for_s: float = 0.3, size: int | None = None
) -> list[float]:
    """Measure the GFLOP/s of a square matrix product in each format, the best within `for_s` seconds each.

    Other processes can only make a product slower, and for some tenths of a second all of them: so the formats take
    turns, as a choice between them must not depend on which one was disturbed.
    """
    size = size or (8192 if device == "cuda" else 1024)  # as much as it takes to keep one busy
    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device)
    factors = [a.to(dtype) for dtype in dtypes]
    best, end = [float("inf")] * len(dtypes), time.perf_counter() + for_s * len(dtypes)
    while time.perf_counter() < end or float("inf") in best:
        for i, factor in enumerate(factors):
            start = time.perf_counter()
            factor @ factor
            if device != "cpu":
                torch.accelerator.synchronize()
            best[i] = min(best[i], time.perf_counter() - start)
    return [2 * size**3 / seconds / 1e9 for seconds in best]


def bf16_is_right(device: str) -> bool:
    """Whether bf16 products stay within the rounding of their inputs (2^-8) of the float32 product."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator).to(device) for _ in range(2))
    exact = a.bfloat16().float() @ b.bfloat16().float()
    half = (a.bfloat16() @ b.bfloat16()).float()
    return bool((exact - half).abs().max() <= exact.abs().max() * 2**-7)


def bf16_is_slow(device: str) -> bool:
    """Whether bf16 products are far too slow: without instructions for them a large one takes seconds."""
    plain, half = product_speeds((torch.float32, torch.bfloat16), device, for_s=0.01, size=256)
    return half < plain / 8


def has_compiler() -> bool:
    """Whether compiled kernels can be built: a compiler, and Python's headers, which they include."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which("g++") is not None and headers.exists()


def has_device(device: str) -> bool:
    """Whether torch sees a device of this kind now."""
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu" or torch.cuda.is_available()


def trains_like_cpu(device: str) -> bool:
    """Whether attention, its gradient and an update of weights give the same on `device` as on the CPU.

    Apple's GPUs lack some operations and had wrong ones, differently in each version of torch and of the system.
    """

    def weight_after_a_step(device: str) -> Tensor:
        """Do one step of AdamW on a small attention, and return the weight."""
        generator = torch.Generator().manual_seed(0)
        x, w = (torch.randn(1, 2, 24, 24, generator=generator).to(device) for _ in range(2))
        weight = torch.nn.Parameter(w)
        mask = torch.ones(24, 24, dtype=torch.bool, device=device).tril()
        optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
        q = x @ weight
        F.scaled_dot_product_attention(q, q, x, attn_mask=mask).square().sum().backward()
        optimizer.step()
        return weight.detach().cpu()

    try:
        return torch.allclose(weight_after_a_step(device), weight_after_a_step("cpu"), rtol=1e-3, atol=1e-3)
    except (RuntimeError, TypeError):  # an operation that is not there, or not for this type of number
        return False


def choose_device(has_cuda: bool, has_mps: bool) -> str:
    return "cuda" if has_cuda else "mps" if has_mps else "cpu"


def choose_dtype(float32_speed: float, bfloat16_speed: float) -> str:
    """Choose bfloat16 only where it is clearly faster; a speed of 0 says that it is not right."""
    return "bfloat16" if bfloat16_speed > 1.2 * float32_speed else "float32"


def measure_machine() -> Machine:
    """Measure and choose: a GPU where torch sees one, bf16 where it is right and faster, all threads."""
    device = choose_device(has_device("cuda"), has_device("mps") and trains_like_cpu("mps"))
    dtypes = (torch.float32, torch.bfloat16) if bf16_is_right(device) and not bf16_is_slow(device) else (torch.float32,)
    plain, half = (*product_speeds(dtypes, device), 0.0)[:2]
    return Machine(
        device=device,
        dtype=choose_dtype(plain, half),
        threads=torch.get_num_threads(),
        can_compile=has_compiler() and (device == "cpu" or (device == "cuda" and has_triton())),
        gflops=round(max(plain, half), 1),
    )


def keep_freed_memory() -> None:
    """Let this process keep freed memory until `return_freed_memory`, where the C library is glibc.

    By itself glibc returns each large block to the system and requests it again, page by page and zeroed, in every step
    of training: at size s a tenth of the time.
    """
    tune = _glibc("mallopt")
    if tune:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20)):
            tune(option, value)


def return_freed_memory() -> None:
    """Return free pages to the system; without this they count as ours."""
    trim = _glibc("malloc_trim")
    if trim:
        trim(0)


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""glibc's numbers of these options, malloc.h."""


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def compile_layers(transformer: Transformer) -> None:
    """Compile each layer by itself, and the last norm, in place.

    Equal layers share one graph, so a deep model takes no longer to compile.
    """
    from torch._inductor import config as inductor  # late: importing it writes into the environment

    inductor.compile_threads = 1  # here, not in a pool of children that each hold torch in memory
    if inductor.cpp.march is None and sys.platform == "linux" and platform.machine() == "x86_64":
        # GCC 12 takes stores into blocks that are turned for dead, and gradients of keys come out as chance has it
        inductor.cpp.march = "native -fno-dse"
    for module in (*transformer.layers, transformer.norm):
        module.compile(dynamic=False)


def uncompile_layers(transformer: Transformer) -> None:
    """Undo `compile_layers`."""
    for module in (*transformer.layers, transformer.norm):
        module._compiled_call_impl = None


def seconds_of_layers(transformer: Transformer, rows: int, length: int) -> float:
    """Measure the seconds of a forward and backward pass of all layers, eager, on (rows, length) positions.

    One layer is timed and counts for all; the better of two measurements.
    """
    layer, x, weights, (rotary, seen) = _trial_inputs(transformer, rows, length)
    x.requires_grad_()
    trained = [x, *(p for p in layer.parameters() if p.requires_grad)]
    taken = []
    for _ in range(2):
        start_s = time.perf_counter()
        torch.autograd.grad(layer.forward(x, rotary, seen, transformer.compute_dtype), trained, weights)
        if x.device.type != "cpu":
            torch.accelerator.synchronize()
        taken.append(time.perf_counter() - start_s)
    return min(taken) * len(transformer.layers)


def _trial_inputs(transformer: Transformer, rows: int, length: int) -> tuple[Layer, Tensor, Tensor, LayerInputs]:
    """Return the last layer, a random input (rows, length, C), weights of its output, and its LayerInputs for packed
    rows.
    """
    device = transformer.embed_tokens.weight.device
    generator = torch.Generator().manual_seed(0)
    shape = (rows, length, transformer.config.hidden_size)
    x, weights = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    segments = (torch.arange(length, device=device) >= length // 2).int().expand(rows, length) + 1
    positions = torch.arange(length, device=device).expand(rows, length)
    return cast(Layer, transformer.layers[-1]), x, weights, transformer.layer_inputs(positions, segments)[-1]


def compiled_matches_eager(transformer: Transformer, rows: int, length: int) -> bool:
    """Return whether a compiled layer gives (rows, length) positions the outputs and gradients of the eager layer.

    The compiler's result depends on shapes, processor and versions. So it is tried on the rows that are to come and,
    where the embedding is frozen, also on those of a first layer, whose input needs no gradient. The tolerance is a
    tenth of the norm, for the output, for the gradient of the input, and for those of each map's weight and bias
    together: rounding makes up to a hundredth, and the gradient of a key's bias is rounding alone. A GPU compares the
    first few rows and gives the others no weight: eagerly, as many as it trains with might not fit.
    """
    layer, x, weights, all_around = _trial_inputs(transformer, rows, length)
    few = rows if x.device.type == "cpu" else min(rows, PLAIN_ROWS)
    weights[few:] = 0
    few_around = _trial_inputs(transformer, few, length)[-1]
    trained = {name: p for name, p in layer.named_parameters() if p.requires_grad}

    def results(run: Callable[..., Tensor], has_input: bool, count: int, around: LayerInputs) -> dict[str, Tensor]:
        """Return the layer's output, and its gradients by name: of the input, and of each map."""
        given = x[:count].clone().requires_grad_(has_input)
        out = run(given, *around, transformer.compute_dtype)
        of = ({"input": given} if has_input else {}) | trained
        found: dict[str, list[Tensor]] = {"output": [out[:few].detach().flatten()]}
        for name, gradient in zip(of, torch.autograd.grad(out, [*of.values()], weights[:count]), strict=True):
            part = gradient[:few] if name == "input" else gradient
            found.setdefault(name.rpartition(".")[0] or name, []).append(part.flatten())
        return {name: torch.cat(parts) for name, parts in found.items()}

    def is_alike(has_input: bool) -> bool:
        plain = results(layer.forward, has_input, few, few_around)
        compiled = results(layer, has_input, rows, all_around)
        return all(bool((compiled[name] - plain[name]).norm() <= 0.1 * plain[name].norm()) for name in plain)

    has_plain_start = not transformer.embed_tokens.weight.requires_grad and bool(trained)
    return is_alike(True) and not (has_plain_start and not is_alike(False))

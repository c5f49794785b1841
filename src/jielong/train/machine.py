"""What this machine is good at, found out once at the start of a run and kept when it resumes.

Device, number format of the matrix products, threads, and whether compiling pays. Nobody has to set them; what was picked
is written down, because two formats give two slightly different runs.
"""

from __future__ import annotations

import shutil
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from jielong.model.transformer import Transformer


@dataclass(frozen=True)
class Machine:
    """`dtype` is that of matrix products and caches; `gflops` what a bf16 or float32 product reached at the check."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    can_compile: bool = False
    gflops: float = 0.0

    @property
    def torch_dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]


def product_speed(dtype: torch.dtype, device: str, size: int = 1024, for_s: float = 0.3) -> float:
    """GFLOP/s of a square matrix product, the best within `for_s` seconds: neighbours can only make it slower."""
    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + for_s
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def bf16_is_right(device: str) -> bool:
    """Whether bf16 products stay within the rounding of their inputs (2^-8) of the float32 product."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator).to(device) for _ in range(2))
    exact = a.bfloat16().float() @ b.bfloat16().float()
    half = (a.bfloat16() @ b.bfloat16()).float()
    return bool((exact - half).abs().max() <= exact.abs().max() * 2**-7)


def _has_compiler() -> bool:
    """Whether compiled kernels can be built: a C++ compiler, and Python's headers, which they include."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which("g++") is not None and headers.exists()


def look_at_machine() -> Machine:
    """Measure and pick: a GPU where torch sees one, bf16 where it is right and faster, all threads."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = product_speed(torch.float32, device)
    half = product_speed(torch.bfloat16, device) if bf16_is_right(device) else 0.0
    return Machine(
        device=device,
        dtype="bfloat16" if half > 1.2 * plain else "float32",
        threads=torch.get_num_threads(),
        can_compile=device == "cuda" or _has_compiler(),
        gflops=round(max(plain, half), 1),
    )


def compile_layers(transformer: Transformer) -> None:
    """Compile each layer by itself, in place: equal layers share one graph, so a deep model takes no longer to compile."""
    from torch._inductor import config as inductor  # late: importing it writes into the environment

    inductor.compile_threads = 1  # here, not in a pool of children that each hold torch in memory
    for layer in transformer.layers:
        layer.compile(dynamic=False)

"""The choice of the library, built at install, that runs on this processor."""

from __future__ import annotations

import ctypes
import functools
import warnings

import torch

from jielong.native.build import HERE, library_file, variants

SOFTLY = 1
"""OpenMP's `omp_pause_soft`: what the threads hold of their own survives."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the library built for this processor, or return None."""
    for name in runnable_variants():
        file = library_file(name)
        if file.exists():
            try:
                # after torch, whose OpenMP threads it shares
                return ctypes.CDLL(str(file))
            except OSError:  # built for another system
                continue
        if list(HERE.glob(f"_native_{name}_*.so")):
            warnings.warn(
                f"the C++ in {HERE} was changed after it was built, so torch is used in its place; install again to build "
                f"it: pip install -e .",
                stacklevel=2,
            )
    return None


def dismiss_threads() -> None:
    """End the threads of OpenMP that compute for the calling thread; its next computation begins with new ones.

    All of a process count together. While there are more than cores, as soon as two threads have some, OpenMP lets those that
    wait sleep at once, and a token of a small model takes half as long again.
    """
    native = library()
    if native is not None:
        native.omp_pause_resource(SOFTLY, native.omp_get_initial_device())


def runnable_variants() -> list[str]:
    """List the variants that may run here, best first; a limit set for torch holds here too."""
    capability = torch.backends.cpu.get_cpu_capability()
    may = {"neon"}
    if capability in ("AVX2", "AVX512"):
        may.add("avx2")
    if capability == "AVX512" and torch.cpu._is_avx512_bf16_supported() and torch.cpu._is_vnni_supported():
        may.add("avx512")
        # tiles are a state that a process has to ask the system for
        if torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx():
            may.add("amx")
    return [name for name in variants() if name in may]

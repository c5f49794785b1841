"""Build the C++ of this folder, once for each instruction set that a machine of this kind may have.

Called at install (`hatch_build.py`) and never while anything runs; after a change to the C++, install again. The files
carry the digest of their source in their names, so a library of other code is not found. Standard library only, and no
import of the package: at install it is not there yet.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
# no -ffast-math: it would reorder the sums that round, and switch off small numbers for the whole process
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast", "-Wno-psabi")
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "bf16", "vnni")))
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "amx": (*AVX512, *(f"-mamx-{part}" for part in ("tile", "bf16", "int8"))),
        "avx512": AVX512,
        "avx2": AVX2,
    },
    "aarch64": {"neon": ()},
}
"""Names of the libraries for each kind of machine, best first, and what the compiler is told."""

WITHOUT = "PyTorch computes the same in its place, more slowly; with a compiler such as g++, install jielong again"


def variants() -> dict[str, tuple[str, ...]]:
    machine = platform.machine().lower()
    return VARIANTS.get({"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine), {})


def sources() -> list[Path]:
    return sorted(HERE.glob("*.cpp"))


def library_file(name: str) -> Path:
    """Return the path of this variant's library, as built from the present source."""
    read = [*sources(), *sorted(HERE.glob("*.h"))]
    digest = hashlib.blake2b(b"".join(file.read_bytes() for file in read), digest_size=4).hexdigest()
    return HERE / f"_native_{name}_{digest}.so"


def is_built() -> bool:
    """Whether a library of the present source is here, or this kind of machine has none."""
    return not variants() or any(library_file(name).exists() for name in variants())


def compiler() -> str | None:
    return next((found for found in map(shutil.which, ("g++", "c++", "clang++")) if found), None)


def compile_all(compiler: str, flags: Sequence[str], file: Path) -> subprocess.CompletedProcess[str]:
    """Compile all sources into one library, with `flags` after those that every variant has."""
    command = [compiler, *FLAGS, *flags, "-o", str(file), *map(str, sources())]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:  # it is there, and is no program that this machine runs
        return subprocess.CompletedProcess(command, 1, "", str(error))


def build() -> list[Path]:
    """Compile every variant that the compiler can, and remove libraries of other code; return the files that exist now."""
    found = compiler()
    if found is None and not is_built():
        print(f"no C++ compiler was found: {WITHOUT}", file=sys.stderr)
    made = []
    for name, flags in variants().items():
        file = library_file(name)
        aside = file.with_suffix(".tmp")
        if not file.exists() and found is not None:
            done = compile_all(found, flags, aside)
            if done.returncode:
                print(f"the C++ was not built for {name}: {WITHOUT}\n{done.stderr[-300:]}", file=sys.stderr)
                continue
            aside.replace(file)
        if file.exists():
            made.append(file)
    for old in set(HERE.glob("_native_*")) - set(made):
        old.unlink()
    return made

"""What a processor with AMX would run, on one without: the C++'s own tests, with tiles that are loops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jielong.native import build, library

HERE = Path(__file__).parent


def test_tiles_compute_what_torch_computes() -> None:
    fitting = library.runnable_variants()
    if "amx" in fitting:
        pytest.skip("this processor has tiles, and test_kernels.py and test_native.py have used them")
    if "avx512" not in fitting or build.compiler() is None:
        pytest.skip("pretended tiles need AVX512 with bfloat16, and a C++ compiler")
    files = [HERE / "test_kernels.py", HERE / "test_native.py"]
    # two tests are about building, of which there is none here
    options = ["-p", "tests.pretend_tiles", "-k", "not without_a_compiler and not built_from_other_code"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, *files]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]

"""What a processor with AMX would run, on one without: the C++'s own tests, with tiles that are loops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jielong.native import library

HERE = Path(__file__).parent


def test_tiles_compute_what_torch_computes() -> None:
    fitting = library.fitting()
    if "amx" in fitting:
        pytest.skip("this processor has tiles, and test_kernels.py and test_native.py have used them")
    if "avx512" not in fitting or shutil.which("g++") is None:
        pytest.skip("pretended tiles need AVX512 with bfloat16, and g++")
    files = [HERE / "test_kernels.py", HERE / "test_native.py"]
    # two tests are about building, of which there is none here
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.pretend_tiles",
        *files,
    ]
    command += ["-k", "not without_a_compiler and not built_from_other_code"]
    done = subprocess.run(command, cwd=HERE.parent, env=os.environ, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]

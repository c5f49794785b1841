"""The GPU's paths, on a GPU where there is one, and on a pretended one elsewhere: `gpu_paths.py` says what holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jielong.train.machine import has_compiler

HERE = Path(__file__).parent


@pytest.mark.smoke
def test_a_gpu_computes_what_the_cpu_computes() -> None:
    pretended = [] if torch.cuda.is_available() else ["-p", "tests.pretend_gpu"]
    if pretended and not (sys.platform == "linux" and has_compiler()):
        pytest.skip("a pretended GPU needs a C++ compiler, and Linux's loader")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *pretended, HERE / "gpu_paths.py"]
    done = subprocess.run(
        command, cwd=HERE.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]

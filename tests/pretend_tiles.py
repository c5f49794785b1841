"""AMX for processors without it: the C++ built for tiles, with their instructions as loops.

`python -m pytest -p tests.pretend_tiles FILE` runs FILE's tests with that library and no other. Needs AVX512 with bfloat16,
and a C++ compiler.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from pathlib import Path

from jielong.native import build, library

NAME = "amx"


def compiled(folder: Path) -> Path:
    file = folder / "pretended.so"
    header = Path(__file__).with_suffix(".h")
    flags = [*build.FLAGS, "-O1", *build.VARIANTS["x86_64"]["avx512"], "-include", str(header)]
    subprocess.run(["g++", *flags, "-o", str(file), *map(str, build.sources())], check=True)
    return file


FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER)
FILE = compiled(FOLDER)
library.fitting = lambda: [NAME]
build.library_file = library.library_file = lambda name: FILE if name == NAME else Path("nowhere")

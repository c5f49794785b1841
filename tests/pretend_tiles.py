"""AMX for processors without it: the C++ built for tiles, with their instructions as loops.

`python -m pytest -p tests.pretend_tiles FILE` runs FILE's tests with that library and no other. Needs AVX512 with bfloat16,
and a C++ compiler.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from jielong.native import build, library

NAME = "amx"


FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER)
FILE = FOLDER / "pretended.so"
COMPILER = build.compiler()
assert COMPILER is not None
FLAGS = [*build.AVX512, "-O1", "-include", str(Path(__file__).with_suffix(".h"))]
done = build.compile_all(COMPILER, FLAGS, FILE)
assert done.returncode == 0, done.stderr
library.runnable_variants = lambda: [NAME]
build.library_file = library.library_file = lambda name: FILE if name == NAME else Path("nowhere")

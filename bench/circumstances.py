"""What all benchmarks share: lists on the command line, and the words for where and on what a result was made."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.environments import ROOT


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type of argparse: some of the known names, separated by commas; "none" is an empty list."""
    known = tuple(known)

    def read(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name and name != "none"]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return read


def now() -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC"


def machine() -> str:
    """The processor, cores, memory and system."""
    import psutil

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = named[0] if named else model
    memory = psutil.virtual_memory().total / 2**30
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    return f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def versions(libraries: Mapping[str, str]) -> str:
    """Python's version and those of the libraries."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {v}" for name, v in libraries.items())])


def commit() -> str:
    """The commit of this checkout, and whether files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def load_average() -> float:
    """Of the last minute; nan where the system keeps none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")

"""How much of the processor a question on the command line costs, beyond what importing torch costs."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

from bench.first_hour.material import library_of, material
from bench.rows import Row

_TRIES = 5


def rows(folder: Path, models: tuple[str, ...]) -> list[Row]:
    of = material("library")
    with library_of(of, folder / "library"):
        pass
    found = []
    for spec in models:
        ask = (sys.executable, "-m", "jielong.cli.main", "ask", spec)
        library = ("--library", str(folder / "library" / "library.db"))
        tries = {
            "torch": (sys.executable, "-c", "import torch"),
            "help": (sys.executable, "-m", "jielong.cli.main", "--help"),
            "ask": (*ask, "What is the capital of France?", "--max-tokens", "20"),
            "library": (*ask, "What is the guest password?", "--max-tokens", "20", *library),
            "nothing": (*ask, "Who won the match yesterday?", *library),
        }
        # in turns, so that a neighbour disturbs all alike
        taken = {name: list[float]() for name in tries}
        for _ in range(_TRIES):
            for name, command in tries.items():
                taken[name].append(_cpu_s(command))
        median = {name: statistics.median(some) for name, some in taken.items()}
        name = Path(spec).name
        beyond = median["ask"] - median["torch"]
        found += [
            Row(f"{name}: ask, beyond importing torch", "at most 2", beyond, beyond <= 2, "s of CPU"),
            Row(f"{name}: importing torch", "reported", median["torch"], True, "s of CPU"),
            Row(
                f"{name}: ask from a library, beyond importing torch",
                "reported",
                median["library"] - median["torch"],
                True,
                "s of CPU",
            ),
            Row(f"{name}: ask where nothing is found", "reported", median["nothing"], True, "s of CPU"),
            Row("jielong --help", "reported", median["help"], True, "s of CPU"),
        ]
    return found


def _cpu_s(command: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

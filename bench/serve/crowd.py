"""A crowd of clients, each asking again as soon as it was answered: errors, the wait for a first token, and memory over time."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator

from bench.contest import Contestant
from bench.environments import OURS
from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting
from bench.serve.speed import PATH, bodies_of, talks

CLIENTS, SLOTS, LENGTH = 64, 32, 1024
TOKENS = 48
WANTED_RATIO = 5.0
"""Of the slowest wait for a first token to the median."""
WANTED_GROWTH = 1.02
"""Of memory between the first quarter of the time and its end."""


def rows(setting: Setting) -> Iterator[Row]:
    """Rows about one crowd."""
    options = ("--slots", str(SLOTS), "--length", str(LENGTH), "--weights", "int8")
    job = {"threads": 1, "clock": "wall"}
    with (
        Server(setting.model, setting.folder, *options, threads=setting.threads) as server,
        Contestant("streams", job, OURS, setting.folder) as client,
    ):
        server.warm()
        bodies = bodies_of(server.name, talks(997, setting.seed), TOKENS)
        memory = _Memory(server)
        memory.start()
        found = client.ask("come", port=server.port, path=PATH, bodies=bodies, clients=CLIENTS, seconds=setting.seconds)
        samples = memory.end()
    streams = found["streams"]
    errors = [stream["error"] for stream in streams if stream.get("error")]
    for error in sorted(set(errors))[:5]:
        print(f"  {error}")
    waits = sorted(stream["first_s"] for stream in streams if not stream.get("error"))
    median = statistics.median(waits)
    rate = sum(stream["tokens"] for stream in streams) / found["seconds"]
    quarter = samples[len(samples) // 4]
    growth = samples[-1] / quarter
    seeds = (setting.seed,)
    what = f"{CLIENTS} clients, {SLOTS} slots, {setting.seconds:g} s"
    yield Row(f"{what}: errors", f"0 of {len(streams):,}", len(errors), not errors, seeds=seeds)
    yield Row(f"{what}: tokens", "told", rate, True, "tokens/s", seeds)
    yield Row(f"{what}: first token, median", "told", median, True, "s", seeds)
    yield Row(f"{what}: first token, slowest", "told", waits[-1], True, "s", seeds)
    ratio = waits[-1] / median
    yield Row(f"{what}: slowest to median", f"at most {WANTED_RATIO:g}", ratio, ratio <= WANTED_RATIO, seeds=seeds)
    yield Row(f"{what}: memory after a quarter", "told", quarter / 2**20, True, "MiB", seeds)
    yield Row(
        f"{what}: memory at the end to then", f"at most {WANTED_GROWTH}", growth, growth <= WANTED_GROWTH, seeds=seeds
    )


class _Memory:
    """Looks at a server's memory every half second."""

    def __init__(self, server: Server) -> None:
        self._server, self._samples, self._is_over = server, list[int](), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> list[int]:
        """All samples, in bytes."""
        self._is_over.set()
        self._thread.join()
        return self._samples

    def _look(self) -> None:
        while not self._is_over.is_set():
            self._samples.append(self._server.memory_bytes())
            time.sleep(0.5)

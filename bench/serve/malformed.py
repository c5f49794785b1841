"""Malformed requests: none may be answered with a 5xx (but a 503 while a model is read), and none may hang.

Good requests of every endpoint are damaged at random, and schemathesis makes its own from the app's description of itself. The
model has random weights and is tiny: a request that is still good is answered at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving import tiny_model

from bench.environments import Environment, environment
from bench.rows import Row
from bench.serve.odd_requests import Wire, good_ones, odd
from bench.serve.server import Server
from bench.serve.setting import Setting

HANG_S = 10.0
AT_ONCE = 8
_LENGTH = re.compile(rb"content-length: ?(\d+)", re.IGNORECASE)


@dataclass
class Tally:
    """The outcomes of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Answers of 5xx, by request and message."""
    hangs: Counter[str] = field(default_factory=Counter)
    silences: Counter[str] = field(default_factory=Counter)
    """Whole requests whose connection was closed without an answer."""
    slowest_s: float = 0.0

    def note(self, request: Wire, status: int, said: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        line = request.data.split(b"\r\n", 1)[0][:70]
        if status >= 500 and status != 503:
            self.faults[f"{request.kind}: {line!r}: {status} {said[-300:]!r} <- {request.data[-300:]!r}"] += 1
        if not status and not request.is_short:
            self.silences[f"{request.kind}: {line!r}"] += 1


async def answered(port: int, request: Wire) -> tuple[int, bytes]:
    """The status of an answer, 0 where there is none, and the answer. TimeoutError where it does not come in time."""
    async with asyncio.timeout(HANG_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request.data)
            await writer.drain()
            if request.is_short:  # or else it would be waited for the rest
                writer.write_eof()
            said = b""
            while not _is_whole(said):
                piece = await reader.read(1 << 16)
                if not piece:
                    break
                said += piece
            return int(said[9:12]) if said[9:12].isdigit() else 0, said
        except (ConnectionError, OSError):
            return 0, b""
        finally:
            writer.close()


def _is_whole(said: bytes) -> bool:
    """Whether an answer is over, or is a stream that has begun."""
    head, gap, body = said.partition(b"\r\n\r\n")
    if not gap:
        return False
    length = _LENGTH.search(head)
    return b"text/event-stream" in head or (length is not None and len(body) >= int(length[1]))


async def sent(port: int, requests: list[Wire]) -> Tally:
    """Send them, a few at once."""
    tally, turn = Tally(), iter(requests)

    async def client() -> None:
        for request in turn:
            begun_s = time.monotonic()
            try:
                status, said = await answered(port, request)
            except TimeoutError:
                tally.hangs[f"{request.kind}: {request.data[-600:]!r}"] += 1
                continue
            tally.note(request, status, said, time.monotonic() - begun_s)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return tally


def rows(setting: Setting) -> Iterator[Row]:
    """Rows about `setting.num` requests, and about those of schemathesis."""
    seeds = (setting.seed,)
    with _server(setting.folder) as server:
        rng = random.Random(setting.seed)
        good = good_ones(server)
        tally = asyncio.run(sent(server.port, [odd(rng.choice(good), server.port, rng) for _ in range(setting.num)]))
        for name, counts in (("fault", tally.faults), ("hang", tally.hangs), ("silence", tally.silences)):
            for what, count in counts.most_common(12):
                print(f"  {name}, {count} x {what}")
        print("  " + ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.statuses.items())))
        num_faults, num_hangs, num_silent = (sum(c.values()) for c in (tally.faults, tally.hangs, tally.silences))
        of = f"{setting.num:,} malformed requests"
        yield Row(f"{of}: answers of 5xx", "0", num_faults, not num_faults, seeds=seeds)
        yield Row(f"{of}: hangs of {HANG_S:g} s", "0", num_hangs, not num_hangs, seeds=seeds)
        yield Row(f"{of}: whole ones without an answer", "0", num_silent, not num_silent, seeds=seeds)
        yield Row(f"{of}: slowest answer", "told", tally.slowest_s, True, "s", seeds)
        bugs = server.log.read_text(encoding="utf-8", errors="replace").count("Traceback")
        yield Row(f"{of}: tracebacks in the log", "0", bugs, not bugs, seeds=seeds)
        is_alive = server.is_alive()
        yield Row("the server lives on", "yes", "yes" if is_alive else "no", is_alive, seeds=seeds)
    yield from _schemathesis(setting, environment("clients", setting.peers))


def _server(folder: Path) -> Server:
    return Server(tiny_model(folder / "tiny"), folder, "--slots", "4", "--length", "512", threads=1)


def _schemathesis(setting: Setting, peers: Environment) -> Iterator[Row]:
    """Its own requests to every operation of /openapi.json, with the session of a page."""
    with _server(setting.folder) as server:
        server.warm()
        token = server.open_page()
        cookie = "; ".join(f"{one.name}={one.value}" for one in server.page.cookies.jar)
        examples = max(5, setting.num // 200)
        program = "from schemathesis.cli import schemathesis; schemathesis()"
        command = [str(peers.python), "-c", program, "run", f"{server.address}/openapi.json"]
        command += ["--checks", "not_a_server_error", "--max-examples", str(examples), "--seed", str(setting.seed)]
        command += ["--request-timeout", str(HANG_S), "--continue-on-failure", "--no-color", "--mode", "all"]
        command += ["-H", f"X-CSRF-Token: {token}", "-H", f"Cookie: {cookie}"]
        made = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=setting.folder, env=_plain_environment()
        )
    (setting.folder / "schemathesis.log").write_text(made.stdout + made.stderr, encoding="utf-8")
    found = re.search(r"([\d,]+) generated", made.stdout)
    failures = re.findall(r"^\s*❌?\s*(Server error.*|Network Error.*|.*timed out.*)$", made.stdout, re.MULTILINE)
    if made.returncode:
        print(made.stdout[-6000:], made.stderr[-2000:])
    what = f"schemathesis, {found[1] if found else '?'} requests"
    number = len(failures) or made.returncode
    yield Row(f"{what}: answers of 5xx or none", "0", number, made.returncode == 0, seeds=(setting.seed,))


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

"""`jielong serve` as a process of its own, and clients of its two faces: OpenAI's protocol and the page's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import psutil

from bench.environments import ROOT

START_S = 120.0


class Server:
    """A running server on a port of its own. `api` speaks OpenAI's protocol; `page` has a session once `open_page` was called."""

    def __init__(self, model: Path, folder: Path, *options: str, threads: int = 0, port: int = 0) -> None:
        self.model, self.folder, self.options = model, folder, options
        self.name, self.port = model.name, port or free_port()
        self.variables = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self.api = httpx2.Client(base_url=f"{self.address}/v1", timeout=120)
        self.page = httpx2.Client(base_url=self.address, timeout=120)
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.api.close()
        self.page.close()

    def start(self) -> None:
        """Start it, again where it was killed, and wait until it answers."""
        command = [sys.executable, "-m", "jielong.cli.main", "serve", str(self.model), "--no-browser"]
        command += ["--port", str(self.port), "--store", str(self.folder / "conversations.db")]
        paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT)))}
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*command, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | paths | self.variables,
            )
        until_s = time.monotonic() + START_S
        while True:
            try:
                self.api.get(f"{self.address}/health", timeout=5).raise_for_status()
                return
            except httpx2.HTTPError:
                if self.process.poll() is not None or time.monotonic() > until_s:
                    raise RuntimeError(f"the server does not start: {self.last_words()}") from None
                time.sleep(0.02)

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """End it, at once or as another signal does."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.process.wait()

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def memory_bytes(self) -> int:
        """Bytes of resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def work_s(self) -> float:
        """Seconds that processors have worked for it, in all its threads."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def warm(self) -> None:
        """Have the model read into memory."""
        self.ask([{"role": "user", "content": "Hello"}], max_tokens=4)

    def ask(self, messages: Sequence[Any], **more: Any) -> Any:
        """The whole reply to a chat."""
        response = self.api.post("/chat/completions", json={"model": self.name, "messages": list(messages), **more})
        response.raise_for_status()
        return response.json()

    def open_page(self) -> str:
        """Begin a session as a browser does; the token of its requests."""
        self.page.cookies.clear()
        text = self.page.get("/").raise_for_status().text
        token = text.partition('name="csrf-token" content="')[2].partition('"')[0]
        self.page.headers["X-CSRF-Token"] = token
        return token


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

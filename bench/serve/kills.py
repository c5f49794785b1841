"""kill -9 while clients write: a turn whose POST was answered is there after the restart, with its words.

The server writes with one thread and synchronous=FULL; what is tried is that nothing is acknowledged before it is on disk.
(The machine goes on: a power cut is another thing.)
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting

CLIENTS = 20


class _Writer(threading.Thread):
    """One client: it opens a session, begins a conversation, and says one thing after another in it."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.address = server.address
        self.talks: list[str] = []
        self.acknowledged: dict[str, tuple[str, str]] = {}
        """Turns by their ids: the conversation of each, and its words."""
        self.odd: list[str] = []
        """Answers that are no answer of a server that lives."""

    def run(self) -> None:
        try:
            with httpx2.Client(base_url=self.address, timeout=30) as client:
                text = client.get("/").text
                token = text.partition('name="csrf-token" content="')[2].partition('"')[0]
                client.headers["X-CSRF-Token"] = token
                sampling = {"max_tokens": 2}
                talk = client.post("/api/conversations", json={"sampling": sampling}).raise_for_status().json()["id"]
                self.talks.append(talk)
                parent = ""
                while True:
                    said = f"{secrets.token_hex(6)}?"
                    body = {"parent": parent, "text": said}
                    response = client.post(f"/api/conversations/{talk}/turns", json=body)
                    if response.status_code != 200:
                        self.odd.append(f"{response.status_code}: {response.text[:200]}")
                        return
                    found = response.json()
                    self.acknowledged[found["question"]["id"]] = (talk, said)
                    self.acknowledged[found["answer"]["id"]] = (talk, "")
                    parent = found["answer"]["id"]
        except httpx2.HTTPError:
            return  # it was killed


def killed(model: Path, folder: Path, kills: int, seed: int) -> tuple[int, int, list[str]]:
    """(writes that were acknowledged, those of them that are lost, odd answers) of so many kills."""
    rng = random.Random(seed)
    acknowledged: dict[str, tuple[str, str]] = {}
    talks: set[str] = set()
    odd: list[str] = []
    with Server(model, folder, "--slots", "4", "--length", "512", threads=1) as server:
        for _ in range(kills):
            writers = [_Writer(server) for _ in range(CLIENTS)]
            for writer in writers:
                writer.start()
            begun_s, wait_s = time.monotonic(), rng.uniform(0.2, 2.0)
            # on a slow machine the first writes take longer than that
            while time.monotonic() - begun_s < wait_s or sum(len(w.acknowledged) for w in writers) < CLIENTS:
                if time.monotonic() - begun_s > 60:
                    raise RuntimeError(f"nothing was written: {server.last_words()}")
                time.sleep(0.01)
            server.kill()
            for writer in writers:
                writer.join()
                acknowledged |= writer.acknowledged
                talks.update(writer.talks)
                odd += writer.odd
            server.start()
        server.open_page()
        kept: dict[str, tuple[str, str]] = {}
        for talk in talks:
            response = server.page.get(f"/api/conversations/{talk}")
            if response.status_code != 200:
                continue  # all that was said in it counts as lost
            for turn in response.json()["turns"]:
                kept[turn["id"]] = (talk, turn["text"] if turn["role"] == "user" else "")
    lost = sum(kept.get(id) != what for id, what in acknowledged.items())
    return len(acknowledged), lost, odd


def rows(setting: Setting) -> Iterator[Row]:
    """Rows about `setting.kills` kills."""
    num, lost, odd = killed(setting.model, setting.folder, setting.kills, setting.seed)
    for what in sorted(set(odd))[:5]:
        print(f"  {what}")
    seeds = (setting.seed,)
    yield Row(f"acknowledged writes lost after {setting.kills} kills", f"0 of {num:,}", lost, not lost, seeds=seeds)
    yield Row("answers that were no 200 before the kill", "0", len(odd), not odd, seeds=seeds)

"""How fast a chat is while the same machine learns, beside the same chat alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.learn.judges import Short, text_of, world_items
from bench.learn.setting import Setting
from bench.rows import Row
from bench.serve.server import Server
from jielong.records import Message, Preference, Vote
from jielong.serve.store import open_store

NUM_JUDGEMENTS, TOKENS, ANSWERS = 200, 96, 12
TALK = [{"role": "user", "content": "Tell me something about the countries of South America."}]


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of one server: its speed before the press, and during the training."""
    judge = Short()
    pairs = []
    for n, item in enumerate(world_items(0, judge.kinds)[:NUM_JUDGEMENTS]):
        better, worse = (Message("assistant", judge.written(item)),), (Message("assistant", item.answers[0]),)
        pairs.append(Preference((Message("user", text_of(item)),), better, worse, by="judge", vote=Vote(at=1000.0 + n)))
    with open_store(setting.folder / "conversations.db") as store:
        store.judgements.add_nouns(pairs)
    runs = setting.folder / "runs"
    with Server(setting.model, setting.folder, "--length", "512", "--runs", str(runs)) as server:
        server.open_page()
        server.warm()
        alone, errors = _speed(server, lambda: True)
        attempt = server.page.post("/api/learn", json={"method": "dpo"}).raise_for_status().json()["attempt"]
        while _attempt(server)["progress"] < 0.02:
            time.sleep(0.2)
        beside, more = _speed(server, lambda: _attempt(server)["state"] == "training")
        server.page.post(f"/api/learn/{attempt['id']}/cancel", json={}).raise_for_status()
    share = beside / alone
    yield Row(
        "tokens/s of a chat while it learns, beside the chat alone", "at least 40%", share * 100, share >= 0.4, "%"
    )
    yield Row("errors of the chat", "0", errors + more, errors + more == 0)


def _attempt(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.page.get("/api/learn").raise_for_status().json()["attempt"]
    return found


def _speed(server: Server, goes_on: Callable[[], bool]) -> tuple[float, int]:
    """The median of tokens a second over some answers, as long as the condition holds, and how many failed."""
    speeds, errors = [], 0
    for _ in range(ANSWERS):
        if not goes_on():
            break
        begun_s = time.monotonic()
        body = {"model": server.name, "messages": TALK, "max_tokens": TOKENS, "temperature": 1.5, "logit_bias": {}}
        response = server.api.post("/chat/completions", json=body)
        errors += response.status_code != 200
        if response.status_code == 200:
            speeds.append(response.json()["usage"]["completion_tokens"] / (time.monotonic() - begun_s))
    return statistics.median(speeds), errors

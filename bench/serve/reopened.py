"""An answer of the page that is looked at again after a restart, and drawn again alone in full precision."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting

QUESTIONS = ("What is the capital of Peru?", "Write a haiku about rain.", "秘鲁的首都是什么？")
SAMPLINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 1.0, "top_p": 1.0, "seed": 11},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "seed": 12},
    {"temperature": 0.0, "seed": 13},
)
TOKENS = 60
COLUMNS = ("ids", "draws", "distributions")


def answered(server: Server, text: str, sampling: dict[str, Any]) -> str:
    """Ask on the page, wait for the answer, and return its id."""
    wanted = {"sampling": {**sampling, "max_tokens": TOKENS}}
    talk = server.page.post("/api/conversations", json=wanted).raise_for_status().json()["id"]
    said = server.page.post(f"/api/conversations/{talk}/turns", json={"parent": "", "text": text}).raise_for_status()
    answer = str(said.json()["answer"]["id"])
    server.page.get(f"/api/turns/{answer}/events").raise_for_status()
    return answer


def columns(server: Server, answer: str) -> dict[str, Any]:
    """The ids of an answer, the numbers that drew them, and what they were drawn from."""
    tokens = server.page.get(f"/api/turns/{answer}/tokens").raise_for_status().json()["tokens"]
    drawn = ("uniform", "low", "high", "rank", "temperature", "num_left", "cuts")
    return {
        "ids": [token["id"] for token in tokens],
        "draws": [[token[name] for name in drawn] for token in tokens],
        "distributions": [[token["p"], token["entropy"], token["likeliest"]] for token in tokens],
    }


def rows(setting: Setting) -> Iterator[Row]:
    """Rows about answers drawn in several ways; the server keeps its weights in float32."""
    asked = [(text, sampling) for text in QUESTIONS for sampling in SAMPLINGS]
    options = ("--slots", "2", "--length", "1024", "--weights", "float32")
    with Server(setting.model, setting.folder, *options, threads=setting.threads) as server:
        server.open_page()
        answers = [answered(server, *one) for one in asked]
        before = {answer: columns(server, answer) for answer in answers}
        server.kill(signal.SIGTERM)
        server.start()
        server.open_page()
        after = {answer: columns(server, answer) for answer in answers}
        redrawn = [server.page.get(f"/api/turns/{answer}/redraw").raise_for_status().json() for answer in answers]
    for name in COLUMNS:
        same = sum(before[answer][name] == after[answer][name] for answer in answers)
        yield Row(f"answers with the same {name} after a restart", str(len(asked)), same, same == len(asked))
    equal = sum(one["is_equal"] for one in redrawn)
    yield Row("answers drawn again alone in float32 that are equal", str(len(asked)), equal, equal == len(asked))

"""Our server beside llama.cpp's own, on the same weights and the same machine, in turns.

Ours keeps the weights in int8 with a scale for each row, llama.cpp in Q8_0. Both have 32 slots, a thread for each core, and the
same chats, whose answers go on to their last token. llama.cpp is the build that its package on PyPI brings.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.contest import Contestant, ratio
from bench.environments import OURS, environment
from bench.rows import Row
from bench.serve.server import Server, free_port
from bench.serve.setting import Setting
from bench.serve.speed import LENGTH, PATH, PAUSE_S, SLOTS, bodies_of, check, talks
from jielong.model.gguf import export_gguf
from jielong.model.hf import load_language_model
from jielong.tokens.tokenizer import Tokenizer

WANTED = {1: 1.3, 8: 1.0, 32: 1.3}
WANTED_FIRST = 1.5
PROMPT = 512
PEER = "llama.cpp server"


def rows(setting: Setting) -> Iterator[Row]:
    """Rows for each number of streams, and for the first token after a long prompt."""
    peers = environment(PEER, setting.peers)
    tokenizer = Tokenizer.load(setting.model)
    gguf = setting.folder / "model.gguf"
    export_gguf(load_language_model(setting.model), setting.model, gguf, "q8_0")
    job = {
        "threads": setting.threads,
        "clock": "wall",
        "gguf": str(gguf),
        "port": free_port(),
        "slots": SLOTS,
        "length": LENGTH,
    }
    options = ("--slots", str(SLOTS), "--length", str(LENGTH), "--weights", "int8")
    with (
        Contestant("llamacpp_server", job, peers, setting.folder) as theirs,
        Contestant("streams", {**job, "threads": 1}, OURS, setting.folder) as client,
        Server(setting.model, setting.folder, *options, threads=setting.threads) as server,
    ):
        server.warm()
        built = theirs.ask("listening")["built"]
        yield Row(f"xllamacpp {theirs.versions['xllamacpp']}", "told", " ".join(built.split()), True)
        ends = {str(id): -100 for id in tokenizer.stop_ids}
        ways: dict[str, tuple[int, dict[str, Any]]] = {
            "ours": (server.port, {"logit_bias": ends}),
            "theirs": (job["port"], {"ignore_eos": True}),
        }
        for streams, wanted in WANTED.items():
            yield from _speed(setting, client, server.name, ways, streams, wanted)
        yield from _first(setting, client, server.name, ways, tokenizer)


def _speed(
    setting: Setting,
    client: Contestant,
    model: str,
    ways: dict[str, tuple[int, dict[str, Any]]],
    streams: int,
    wanted: float,
) -> Iterator[Row]:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(setting.rounds + 1):
        asked = talks(streams, 1000 * streams + turn)
        for name, (port, more) in ways.items():
            time.sleep(PAUSE_S)
            found = client.ask("write", port=port, path=PATH, bodies=bodies_of(model, asked, setting.tokens, **more))
            check(found, setting.tokens)
            if turn:  # the first one warms up
                rates[name].append(streams * setting.tokens / found["seconds"])
    many = f"{streams} stream{'s' if streams > 1 else ''}"
    for name, some in rates.items():
        yield Row(f"{many}: {name}", "told", statistics.median(some), True, "tokens/s")
    times = ratio(rates["ours"], rates["theirs"])
    yield Row(f"{many}: ours to theirs", f"at least {wanted}", times, times >= wanted)


def _first(
    setting: Setting,
    client: Contestant,
    model: str,
    ways: dict[str, tuple[int, dict[str, Any]]],
    tokenizer: Tokenizer,
) -> Iterator[Row]:
    """The time to the first token after a prompt that nobody has read."""
    waits: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(2 * setting.rounds + 1):
        talk = [{"role": "user", "content": _long_text(tokenizer, turn)}]
        for name, (port, more) in ways.items():
            time.sleep(PAUSE_S)
            found = client.ask("write", port=port, path=PATH, bodies=bodies_of(model, [talk], 2, **more))
            check(found, 2)
            if turn:
                waits[name].append(found["streams"][0]["first_s"])
    for name, some in waits.items():
        yield Row(f"first token after {PROMPT} tokens: {name}", "told", statistics.median(some), True, "s")
    times = ratio(waits["theirs"], waits["ours"])
    what = f"first token after {PROMPT} tokens: how much sooner ours comes"
    yield Row(what, f"at least {WANTED_FIRST}", times, times >= WANTED_FIRST)


def _long_text(tokenizer: Tokenizer, seed: int) -> str:
    """About `PROMPT` tokens that begin like no other text."""
    rng = random.Random(seed)
    words = [word for talk in talks(60, seed) for word in talk[0]["content"].split()]
    rng.shuffle(words)
    ids = tokenizer.encode(" ".join(words))[: PROMPT - 32]  # the template brings the others
    return tokenizer.decode_bytes(ids).decode("utf-8", "replace")

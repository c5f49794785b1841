"""Tokens a second over HTTP beside the engine alone: the same weights, prompts, seeds and lengths, in turns.

An answer goes on to its last token, as the ids that would end it are held down on both sides. The client is a process of its
own on the same cores.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.contest import Contestant, ratio
from bench.environments import OURS
from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting
from jielong.tokens.tokenizer import Tokenizer

STREAMS = (1, 32)
SLOTS, LENGTH = 32, 1024
PATH = "/v1/chat/completions"
WANTED = {"": 0.95, "top_logprobs 20": 0.85}
"""Of what the engine alone writes."""
PAUSE_S = 0.3
"""Between two who are timed, so that the one before lets go of its threads."""
_WORDS = (
    "river winter lamp market garden teacher violin harbour letter mountain kitchen train window island doctor engine"
    " forest bridge painter bottle captain meadow tower village sailor mirror orchard blanket pencil thunder"
).split()


def talks(count: int, seed: int) -> list[list[dict[str, str]]]:
    """So many short questions, no two alike."""
    rng = random.Random(seed)
    about = (", ".join(rng.sample(_WORDS, 5)) for _ in range(count))
    return [[{"role": "user", "content": f"Tell a story ({seed}.{i}) with {words}."}] for i, words in enumerate(about)]


def bodies_of(model: str, asked: list[list[dict[str, str]]], tokens: int, **more: Any) -> list[dict[str, Any]]:
    """Requests for streams of exactly `tokens` tokens; `more` holds the ending down."""
    head = {"model": model, "stream": True, "stream_options": {"include_usage": True}, "temperature": 1.0}
    return [{**head, "messages": talk, "max_tokens": tokens, "seed": i, **more} for i, talk in enumerate(asked)]


def rows(setting: Setting) -> Iterator[Row]:
    """Rows for each number of streams, without and with log-probabilities."""
    ends = {str(id): -100 for id in Tokenizer.load(setting.model).stop_ids}
    job = {
        "model": str(setting.model),
        "threads": setting.threads,
        "clock": "wall",
        "weights": "int8",
        "slots": SLOTS,
        "length": LENGTH,
        "bias": ends,
    }
    options = ("--slots", str(SLOTS), "--length", str(LENGTH), "--weights", "int8")
    with (
        Contestant("engine_alone", job, OURS, setting.folder) as engine,
        Contestant("streams", {**job, "threads": 1}, OURS, setting.folder) as client,
        Server(setting.model, setting.folder, *options, threads=setting.threads) as server,
    ):
        server.warm()
        # every slot is written to before anything is timed: memory is given out at the first touch, which takes longer than a step
        every = talks(SLOTS, setting.seed)
        engine.ask("write", talks=every, tokens=2, seeds=list(range(SLOTS)))
        check(
            client.ask("write", port=server.port, path=PATH, bodies=bodies_of(server.name, every, 2, logit_bias=ends)),
            2,
        )
        for streams in STREAMS:
            yield from _of(streams, setting, engine, client, server, ends)


@dataclass
class _Taken:
    """Tokens a second, and processor's work in milliseconds a token, round by round."""

    rates: list[float] = field(default_factory=list)
    work_ms: list[float] = field(default_factory=list)

    def add(self, tokens: int, seconds: float, work_s: float) -> None:
        self.rates.append(tokens / seconds)
        self.work_ms.append(1000 * work_s / tokens)


def _of(
    streams: int, setting: Setting, engine: Contestant, client: Contestant, server: Server, ends: dict[str, int]
) -> Iterator[Row]:
    alone, served, tokens = _Taken(), {name: _Taken() for name in WANTED}, setting.tokens
    for turn in range(setting.rounds + 1):
        asked = talks(streams, 1000 * streams + turn)
        time.sleep(PAUSE_S)
        found = engine.ask("write", talks=asked, tokens=tokens, seeds=list(range(streams)))
        if found["tokens"] != streams * tokens:
            raise RuntimeError(f"the engine wrote {found['tokens']} tokens, not {streams * tokens}")
        if turn:  # the first one warms up
            alone.add(found["tokens"], found["seconds"], found["work_s"])
        for name, taken in served.items():
            more = {"logprobs": True, "top_logprobs": 20} if name else {}
            # what was read for the one before would be known
            bodies = bodies_of(server.name, _other(asked) if name else asked, tokens, logit_bias=ends, **more)
            time.sleep(PAUSE_S)
            worked_s = server.work_s()
            found = client.ask("write", port=server.port, path=PATH, bodies=bodies)
            check(found, tokens)
            if turn:
                taken.add(streams * tokens, found["seconds"], server.work_s() - worked_s)
    many = f"{streams} stream{'s' if streams > 1 else ''}"
    yield Row(f"{many}: engine alone", "told", statistics.median(alone.rates), True, "tokens/s")
    yield Row(f"{many}: engine alone, work", "told", statistics.median(alone.work_ms), True, "ms a token")
    for name, wanted in WANTED.items():
        taken, what = served[name], f"{many}{f', {name}' if name else ''}"
        yield Row(f"{what}: over HTTP", "told", statistics.median(taken.rates), True, "tokens/s")
        yield Row(f"{what}: over HTTP, work", "told", statistics.median(taken.work_ms), True, "ms a token")
        share = ratio(taken.rates, alone.rates)
        yield Row(f"{what}: over HTTP, of the engine alone", f"at least {wanted}", share, share >= wanted)
        yield Row(f"{what}: work of the engine alone, of all", "told", ratio(alone.work_ms, taken.work_ms), True)


def _other(asked: list[list[dict[str, str]]]) -> list[list[dict[str, str]]]:
    """Questions of the same length that begin otherwise."""
    return [[{**turn, "content": f"Now {turn['content']}"} for turn in talk] for talk in asked]


def check(found: dict[str, Any], tokens: int) -> None:
    """RuntimeError where a stream failed or ended early."""
    for stream in found["streams"]:
        if stream.get("error") or stream["tokens"] != tokens:
            raise RuntimeError(f"a stream ended with {stream}")

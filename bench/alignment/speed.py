"""A step of GRPO beside TRL's GRPOTrainer: 8 prompts of 32 tokens, 8 samples each of 64 tokens, a model of size s.

Both begin with the same weights, score the reference too, and go once over their samples. They take turns in one run, and
the ratio is the median over the rounds. Seconds are those in which a processor worked, on one thread: on a machine that
others use, time on the wall says little.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.alignment.setting import Setting
from bench.contest import Contestant, in_turn, ratio
from bench.environments import OURS, Unavailable, environment
from bench.rows import Row
from jielong.model import hf
from jielong.model.presets import preset
from jielong.model.transformer import fresh_language_model

SEEDS = 1
ROUNDS, WARMUP = 5, 1
LEAST, AIM = 2.0, 3.0
PROMPTS, GROUP, PROMPT_TOKENS, TOKENS = 8, 8, 32, 64
PARTS = ("generation", "scoring", "update")
NUM_ASKED = 512
"""Prompts to draw from: more than all rounds take."""

PEERS: dict[str, dict[str, Any]] = {
    "TRL, bf16": {"kept_in": "bfloat16"},
    "TRL, bf16, static cache": {"kept_in": "bfloat16", "cache": "static"},
}
"""The fastest of those tried: weights kept in float32 take longer, and so do fewer rows at a time."""


def job_in(folder: Path) -> dict[str, Any]:
    """Write the weights, and return the job of all contestants."""
    shape = preset("s")
    (folder / "model").mkdir(parents=True, exist_ok=True)
    hf.save(fresh_language_model(shape, seed=0), folder / "model", eos_token_id=2, pad_token_id=1)
    asked = np.random.default_rng(0).integers(64, shape.vocab_size, (NUM_ASKED, PROMPT_TOKENS))
    return {
        "folder": str(folder),
        "vocab_size": shape.vocab_size,
        "asked": asked.tolist(),
        "prompts": PROMPTS,
        "group_size": GROUP,
        "tokens": TOKENS,
        "micro_rows": PROMPTS * GROUP,
        "kl": 0.05,
        "dtype": "bfloat16",
        "kept_in": "float32",
        "cache": "",
        "compile": False,
        "is_continuous": False,
        "threads": 1,
        "clock": "cpu",
    }


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of the ratio, and of the seconds of each part."""
    if setting.peers is None:
        raise Unavailable("speed compares with TRL: give a folder for its environment with --peers DIR")
    job, trl = job_in(setting.folder), environment("trl", setting.peers)
    lost: list[str] = []
    with ExitStack() as stack:

        def opened(module: str, where: Any, changes: dict[str, Any]) -> Contestant:
            return stack.enter_context(Contestant(module, job | changes, where, setting.folder))

        coming = {"jielong": partial(opened, "jielong_grpo", OURS, {})}
        coming |= {name: partial(opened, "trl_grpo", trl, changes) for name, changes in PEERS.items()}
        present = in_turn(coming, lost)
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in present}
        for number in range(WARMUP + ROUNDS):
            for name, answer in in_turn({n: partial(present[n].ask, "step") for n in answers}, lost).items():
                print(name, answer, flush=True)
                if number >= WARMUP:
                    answers[name].append(answer)
    for reason in lost:
        yield Row(f"{reason.partition(':')[0]} took part", "yes", reason, False)
    answers = {name: found for name, found in answers.items() if len(found) == ROUNDS}
    seconds = {name: [float(answer["seconds"]) for answer in found] for name, found in answers.items()}
    best = min((name for name in seconds if name in PEERS), key=lambda name: statistics.median(seconds[name]))
    times = ratio(seconds[best], seconds["jielong"])
    yield Row(
        f"a GRPO step, how many times as fast as {best}", f"at least {LEAST:g}, aim {AIM:g}", times, times >= LEAST
    )
    for name, found in answers.items():
        yield Row(f"{name}: a step", "stated", statistics.median(seconds[name]), True, "CPU s")
        for part in PARTS:
            spent = statistics.median(float(answer["parts"][part]) for answer in found)
            yield Row(f"{name}: {part}", "stated", spent, True, "CPU s")
        length = statistics.median(float(answer["length"]) for answer in found)
        yield Row(f"{name}: tokens of a sample", f"{TOKENS - 2} to {TOKENS}", length, TOKENS - 2 <= length <= TOKENS)

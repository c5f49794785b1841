"""From the command to the first token: a new process that opens a small checkpoint and writes one token.

Taken off is what `import torch` alone takes in the same Python, measured in the same round.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

from bench.contest import Result, Wanted, rounds
from bench.environments import OURS, ROOT, Environment
from bench.training import QUICK, SIZES, Setting
from jielong.model import hf
from jielong.model.transformer import fresh_language_model

PROMPT = (70, 71, 72, 73)
_IMPORT = "import torch"
_OURS = """
import sys
from pathlib import Path
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.hf import load_language_model
from jielong.records import Request, Sampling
engine = Engine(load_language_model(Path(sys.argv[1])), EngineConfig(slots=1))
request = Request({prompt}, Sampling(max_tokens=1, temperature=0.0))
print(next(engine.stream(request)).id)
"""
_TRANSFORMERS = """
import sys
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = torch.tensor([{prompt}])
print(model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False, pad_token_id=0)[0, -1].item())
"""


def _now(clock: str) -> float:
    """Seconds of the wall, or in which a processor worked for processes that this one started."""
    children = os.times()
    return time.perf_counter() if clock == "wall" else children.children_user + children.children_system


def first_token(setting: Setting) -> Iterator[Result]:
    """Seconds beyond the import of torch."""
    folder = setting.folder / "start"
    (folder / "model").mkdir(parents=True)
    shape = QUICK.shape if setting.is_quick else SIZES["s"].shape
    hf.save(fresh_language_model(shape, seed=0), folder / "model", eos_token_id=0, pad_token_id=1)
    told: dict[str, str] = {}

    def run(environment: Environment, code: str, who: str = "") -> float:
        command = [str(environment.python), "-c", code.format(prompt=PROMPT), str(folder / "model")]
        began_s = _now(setting.clock)
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment.variables(setting.threads)
        )
        seconds = _now(setting.clock) - began_s
        told[who] = done.stdout.strip()
        return seconds

    def beyond(who: str, environment: Environment, code: str) -> float:
        return -run(environment, _IMPORT) + run(environment, code, who)

    asked = {"jielong": lambda: beyond("jielong", OURS, _OURS)}
    if "transformers" in setting.peers:
        peer = setting.peers["transformers"]
        asked["transformers"] = lambda: beyond("transformers", peer, _TRANSFORMERS)
    rounds(asked, 1, setting.missing)  # files are in memory from now on
    samples = rounds(asked, setting.rounds, setting.missing)
    checks = [(f"{who} wrote token {told[who]}", told[who] == told["jielong"]) for who in samples]
    wanted = [Wanted("jielong", "transformers", 1.0)]
    yield Result(
        "start to first token", setting.seconds, samples, wanted, lower_is_better=True, at_most=0.5, checks=checks
    )

"""A book as one prompt: memory and speed of reading so many tokens with a model of size s, and of writing after them.

300 pages are about 160,000 tokens. The model has random weights and positions stretched by YaRN: what reading costs does not
depend on what was learned (`bench.needle` asks what is found at a distance). Memory is the most that the process had meanwhile, and
how much of it reading added; beside it stands what keys and values take, which the engine has from the beginning.

`python -m bench.book [--tokens 160000]`, from the root of the repository.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import psutil
import torch

from jielong.generate import Engine, EngineConfig
from jielong.model.presets import preset
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import fresh_language_model
from jielong.records import Request, Sampling
from jielong.runs import MemoryWatch
from jielong.train.machine import measure_machine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=160_000, help="of the prompt (default: 160000)")
    parser.add_argument("--write", type=int, default=32, help="tokens to write after it (default: 32)")
    args = parser.parse_args(arguments)
    shape, length = preset("s"), args.tokens + args.write
    scaling = RopeScaling("yarn", max(1.0, length / shape.max_position_embeddings), shape.max_position_embeddings)
    model = fresh_language_model(replace(shape, max_position_embeddings=length, rope_scaling=scaling), seed=0)
    machine = measure_machine()
    torch.set_num_threads(machine.threads)
    engine = Engine(model, EngineConfig(slots=1, dtype=machine.dtype))
    ids = np.random.default_rng(0).integers(0, shape.vocab_size, args.tokens).tolist()
    for _ in engine.stream(Request(tuple(ids[-512:]), Sampling(max_tokens=4))):
        pass  # what is prepared at the first request is not part of the reading
    before_bytes, start_s = psutil.Process().memory_info().rss, time.perf_counter()
    with MemoryWatch() as memory:
        events = engine.stream(Request(tuple(ids), Sampling(max_tokens=args.write, temperature=0.0)))
        times_s = [time.perf_counter() - start_s for _ in events]
    print(f"size s in {machine.dtype}, {machine.threads} threads, {args.tokens:,} tokens of prompt")
    print(f"first token after {times_s[0]:.1f} s, {args.tokens / times_s[0]:,.0f} tokens/s")
    if len(times_s) > 1:
        print(f"then {(len(times_s) - 1) / (times_s[-1] - times_s[0]):.1f} tokens/s")
    most, added, cache = (n / 2**20 for n in (memory.peak_bytes, memory.peak_bytes - before_bytes, engine.cache_bytes))
    print(f"memory at most {most:,.0f} MiB, reading added {added:,.0f}; keys and values are {cache:,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

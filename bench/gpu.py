"""On a GPU, ours alone: utilisation in training at GPT-2's shapes, and one row's decoding as a share of what memory allows.

Both are shares of what the same process reached with nothing but a product of matrices, and with a copy, as if a token had
to read the weights alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from bench.contest import Contestant, Result, in_turn, rounds
from bench.environments import OURS
from bench.training import QUICK, Setting, Size, throughput
from jielong.model import hf
from jielong.model.presets import preset
from jielong.model.transformer import fresh_language_model

SIZES = {
    "gpt2": Size(preset("gpt2"), 64, 32, 4, 4, 1.5, mfu=0.45),
    "gpt2-xl": Size(preset("gpt2-xl"), 16, 8, 2, 2, 1.5, mfu=0.55),
}
SHARE = 0.6
"""Of the memory's speed, that one row of the largest shape is to reach."""


def shares(setting: Setting, versions: dict[str, str]) -> Iterator[Result]:
    """Training at each size, then decoding."""
    yield from throughput({"tiny": QUICK} if setting.is_quick else SIZES, setting, versions, compiled_peers=False)
    folder = setting.folder / "gpu"
    (folder / "model").mkdir(parents=True)
    name, shape = ("tiny", QUICK.shape) if setting.is_quick else ("gpt2-xl", SIZES["gpt2-xl"].shape)
    hf.save(fresh_language_model(shape, seed=0), folder / "model", eos_token_id=0, pad_token_id=1)
    job = {"model": str(folder / "model"), "threads": setting.threads, "clock": "wall"}
    prompts = np.random.default_rng(0).integers(0, shape.vocab_size, (1, 16)).tolist()
    tokens = 8 if setting.is_quick else 256
    with ExitStack() as stack:
        ours = stack.enter_context(Contestant("jielong_generate", job, OURS, folder))

        def share() -> float:
            seconds = ours.ask("write", prompts=prompts, tokens=tokens)["seconds"]
            bound = ours.ask("bound", length=len(prompts[0]) + tokens)["tokens_per_s"]
            return float(tokens / seconds / bound)

        asked = {"jielong": share}
        in_turn(asked, setting.missing)  # captured from now on
        samples = rounds(asked, setting.rounds, setting.missing)
    yield Result(f"decoding batch 1, {name}", "of the memory's speed", samples, at_least=SHARE)

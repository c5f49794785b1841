"""Our engine on the job's model; and, in float32 and without a cache, the judge of what everybody wrote."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bench.peers.protocol import Line
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.hf import load_language_model
from jielong.records import Request, Sampling


def main() -> None:
    line = Line()
    job = line.job
    torch.set_num_threads(job["threads"])
    model = load_language_model(Path(job["model"])).to("cuda" if torch.cuda.is_available() else "cpu").eval()

    # repeated prompts would otherwise not be read at all, and repetitions be drafted: what is timed is every token
    @lru_cache(maxsize=1)
    def engine(slots: int, length: int) -> Engine:
        config = EngineConfig.fast(
            model.config, model.head.device, job.get("weights"), slots=slots, length=length, reuse=0, lookup=0
        )
        return Engine(model, config)

    def write(prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """All prompts at once, greedily."""
        sampling = Sampling(max_tokens=tokens, temperature=0.0)
        requests = [Request(tuple(ids), sampling) for ids in prompts]
        ready = engine(len(prompts), max(map(len, prompts)) + tokens)
        seconds, samples = line.timed(lambda: ready.generate(requests))
        return {"seconds": seconds, "ids": [list(sample.ids) for sample in samples]}

    @torch.inference_mode()
    def judge(prompts: list[list[int]], ids: list[list[int]]) -> dict[str, float]:
        """How often each written id is the most likely one; and how far below it lies on average.

        That is a share of the way from the largest logit down to their mean: 0 is the largest, 1 a random id.
        """
        below, right, count = 0.0, 0, 0
        for prompt, written in zip(prompts, ids, strict=True):
            inputs = torch.tensor([[*prompt, *written[:-1]]], device=model.head.device)
            logits = model.logits(model(inputs)[0, len(prompt) - 1 :])
            chosen = logits.gather(1, torch.tensor(written, device=logits.device)[:, None]).squeeze(1)
            largest = logits.amax(-1)
            below += float(((largest - chosen) / (largest - logits.mean(-1))).sum())
            right, count = right + int((chosen == largest).sum()), count + len(written)
        return {"below": below / count, "agreement": right / count}

    def bound(length: int) -> dict[str, float]:
        """How many tokens a second one row of `length` could have, if each had to read the weights and no more."""
        source = torch.zeros(2**28, dtype=torch.uint8, device=model.head.device)
        target = torch.empty_like(source)

        def copy() -> None:
            target.copy_(source)
            if source.device.type != "cpu":
                torch.accelerator.synchronize()

        seconds = min(line.timed(copy)[0] for _ in range(20))
        return {"tokens_per_s": 2 * len(source) / seconds / engine(1, length).weight_bytes}

    line.say(versions={"torch": torch.__version__})
    line.serve({"write": write, "judge": judge, "bound": bound})


if __name__ == "__main__":
    main()

"""The engine as the server opens it, without the server: chats in, tokens out, in a loop of steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from bench.peers.protocol import Line
from jielong.opening.models import open_engine
from jielong.records import Message, Request, Sampling
from jielong.tokens.chat import render_prompt


def main() -> None:
    line = Line()
    job = line.job
    engine, tokenizer = open_engine(Path(job["model"]), job["weights"], slots=job["slots"], length=job["length"])
    bias = {int(id): added for id, added in job["bias"].items()}

    def write(talks: list[list[dict[str, str]]], tokens: int, seeds: list[int]) -> dict[str, Any]:
        """An answer to each talk, all at once."""
        sampling = Sampling(max_tokens=tokens, temperature=1.0, stop_ids=tuple(tokenizer.stop_ids))
        prompts = [render_prompt([Message(**turn) for turn in talk], tokenizer, ()) for talk in talks]
        requests = [Request(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

        def work() -> int:
            for request in requests:
                engine.submit(request, bias=bias)
            written = 0
            while engine.num_live or engine.num_waiting:
                written += len(engine.step())
            return written

        worked_s = time.process_time()
        seconds, written = line.timed(work)
        return {"seconds": seconds, "tokens": written, "work_s": time.process_time() - worked_s}

    line.say(versions={"torch": torch.__version__})
    line.serve({"write": write})


if __name__ == "__main__":
    main()

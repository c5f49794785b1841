"""llama.cpp on the job's GGUF file, through llama-cpp-python; one row at a time."""

from __future__ import annotations

from itertools import islice
from typing import Any

import llama_cpp  # type: ignore[import-not-found]

from bench.peers.protocol import Line


def main() -> None:
    line = Line()
    job = line.job
    threads = {"n_threads": job["threads"], "n_threads_batch": job["threads"]}
    model = llama_cpp.Llama(job["gguf"], n_ctx=job["context"], n_batch=512, verbose=False, **threads)

    def write(prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """One prompt, greedily, with an empty cache."""
        (prompt,) = prompts

        def work() -> list[int]:
            model.reset()
            return list(islice(model.generate(prompt, temp=0.0, repeat_penalty=1.0), tokens))

        seconds, ids = line.timed(work)
        return {"seconds": seconds, "ids": [ids]}

    line.say(versions={"llama-cpp-python": llama_cpp.__version__})
    line.serve({"write": write})


if __name__ == "__main__":
    main()

"""transformers' generate on the job's model."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from bench.peers.protocol import Line


def main() -> None:
    line = Line()
    job = line.job
    torch.set_num_threads(job["threads"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"])).eval()
    model.to(torch.device(device))
    # every row writes as many tokens as it is asked to
    model.generation_config.eos_token_id = None

    def write(prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """All prompts, which are equally long, at once and greedily."""
        ids = torch.tensor(prompts, device=device)
        options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        seconds, out = line.timed(lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options))
        return {"seconds": seconds, "ids": out[:, ids.shape[1] :].tolist()}

    line.say(versions={"torch": torch.__version__, "transformers": transformers.__version__})
    line.serve({"write": write})


if __name__ == "__main__":
    main()

"""nanochat's model and optimizer from a checkout of it, on the job's rows; compiled, its number format in NANOCHAT_DTYPE.

Its arrangement is its own (untied head, value embeddings, squared ReLU), so width, depth, heads and vocabulary are the
job's and its weights are not. Its rates are its own, times the job's `rate_scale`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from nanochat.gpt import GPT, GPTConfig  # type: ignore[import-not-found]

from bench.peers.protocol import Line, Steps


def main() -> None:
    line = Line()
    job, folder = line.job, Path(line.job["folder"])
    torch.set_num_threads(job["threads"])
    torch.random.manual_seed(job["seed"])
    shape = job["shape"]
    config = GPTConfig(
        sequence_len=job["length"],
        vocab_size=shape["vocab_size"],
        n_layer=shape["num_hidden_layers"],
        n_head=shape["num_attention_heads"],
        n_kv_head=shape["num_key_value_heads"],
        n_embd=shape["hidden_size"],
        window_pattern="L",  # what its own script for a CPU sets
    )
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device="cuda" if torch.cuda.is_available() else "cpu")
    model.init_weights()
    optimizer = model.setup_optimizer()
    for group in optimizer.param_groups:  # its own rates, scaled as the others' are searched
        group["lr"] *= job["rate_scale"]
    compiled = torch.compile(model, dynamic=False) if job["compile"] else model
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    num_micro = job["rows"] // job["micro_rows"]

    def loss_of(part: np.ndarray) -> torch.Tensor:
        ids = torch.from_numpy(part.astype(np.int64)).to(model.get_device())
        targets = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=-1)
        loss: torch.Tensor = compiled(ids, targets)
        return loss

    @torch.no_grad()
    def check() -> dict[str, float]:
        held_out = np.load(folder / "held_out_rows.npy").reshape(-1, job["micro_rows"], job["length"])
        return {"loss": sum(float(loss_of(part)) for part in held_out) / len(held_out)}

    steps = Steps(line, {"held_out": check})
    line.say(versions={"torch": torch.__version__})
    steps.wait()
    for step in range(job["steps"]):
        total = 0.0
        for part in np.split(rows[step % len(rows)], num_micro):
            loss = loss_of(part) / num_micro
            loss.backward()
            total += loss.item()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        steps.after(total)


if __name__ == "__main__":
    main()

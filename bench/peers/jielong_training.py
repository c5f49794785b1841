"""Our loop on the job's rows: the source, objective and optimizer of a pretraining stage, compiled as the recipes do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.peers.protocol import Line, Steps
from jielong.data.shards import TokenArray
from jielong.data.steps import PackedTokens, held_out
from jielong.model.hf import load_language_model
from jielong.train.checks import held_out_loss
from jielong.train.loop import Loop, LoopConfig
from jielong.train.machine import Machine, compile_layers, keep_freed_memory
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.parallel import Ranks


def main() -> None:
    line = Line()
    job, folder = line.job, Path(line.job["folder"])
    torch.set_num_threads(job["threads"])
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_language_model(folder / "model").to(device)
    model.model.compute_dtype = Machine(dtype=job["dtype"]).torch_dtype
    modules = {"policy": model}

    def rows_of(name: str) -> PackedTokens:
        tokens = np.load(folder / f"{name}.npy")
        layout = {"length": job["length"], "rows_per_step": job["rows"], "micro_rows": job["micro_rows"]}
        return PackedTokens(TokenArray(tokens, np.array([0, len(tokens)])), seed=job["seed"], **layout)

    torch.use_deterministic_algorithms(job["compile"] and device == "cpu")
    if job["compile"]:
        compile_layers(model.model)

    rates = {"lr": job["lr"], "muon_lr": job["muon_lr"], "warmup_steps": job["warmup_steps"], "decay_fraction": 0.0}
    optimizer = Optimizer(model, OptimizerConfig(name=job["optimizer"], **rates), model.model.compute_dtype)
    objective = NextToken(is_compiled=job["compile"])

    def check() -> dict[str, float]:
        batches = held_out(rows_of("held_out"))
        return {"loss": held_out_loss(objective, batches, Ranks())(modules, 0)["held_out_loss"]}

    def peak() -> dict[str, float]:
        """The best of some square matrix products; neighbours can only make one slower."""
        size = 2048 if device == "cpu" else 8192
        square = torch.full((size, size), 0.5, dtype=model.model.compute_dtype, device=device)

        def work() -> None:
            for _ in range(4):
                square @ square
            if device == "cuda":
                torch.cuda.synchronize()

        return {"gflops": max(4 * 2 * size**3 / line.timed(work)[0] / 1e9 for _ in range(5))}

    steps = Steps(line, {"held_out": check, "peak": peak})
    loop = Loop(
        modules,
        {"policy": optimizer},
        rows_of("tokens"),
        objective,
        LoopConfig(steps=job["steps"], save_every_s=float("inf"), diverged_above=0.0),
        folder / f"run-{job['optimizer']}",
        lambda model, path: None,
        report=lambda progress: steps.after(progress.loss),
    )
    line.say(versions={"torch": torch.__version__})
    steps.wait()
    loop.run()


if __name__ == "__main__":
    main()

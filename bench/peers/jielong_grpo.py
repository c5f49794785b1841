"""Our GRPO on the job's model and prompts: rollouts, objective and optimizer of a reinforcement stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from bench.peers.protocol import Line
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.hf import load_language_model
from jielong.records import Conversation, Sample, Score
from jielong.train.loop import Loop, LoopConfig
from jielong.train.machine import Machine, keep_freed_memory
from jielong.train.objectives.policy import PolicyConfig, PolicyGradient
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt

T = TypeVar("T")


def share_of_even(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """Score samples by their share of even ids, as the peer does."""
    return [Score(sum(id % 2 == 0 for id in sample.ids) / len(sample.ids)) for _, _, sample in items]


def main() -> None:
    line = Line()
    job = line.job
    torch.set_num_threads(job["threads"])
    keep_freed_memory()
    machine = Machine(dtype=job["dtype"])
    policy = load_language_model(Path(job["folder"]) / "model")
    policy.model.compute_dtype = machine.torch_dtype
    reference = copy.deepcopy(policy).requires_grad_(False)
    config = RolloutConfig(
        algorithm="grpo",
        prompts=job["prompts"],
        group_size=job["group_size"],
        epochs=1,
        minibatches=1,
        micro_rows=job["micro_rows"],
        max_tokens=job["tokens"],
        kl_coefficient=job["kl"],
        missing_stop_penalty=0.0,
    )
    spent = {"generation": 0.0, "scoring": 0.0}

    def timed(name: str, work: Callable[..., T]) -> Callable[..., T]:
        def run(*arguments: Any) -> T:
            began_s = line.clock()
            try:
                return work(*arguments)
            finally:
                spent[name] += line.clock() - began_s

        return run

    engine = Engine(policy, EngineConfig(slots=job["prompts"] * job["group_size"], dtype=job["dtype"], reuse=0))
    engine.generate = timed("generation", engine.generate)  # type: ignore[method-assign]
    engine.load = timed("generation", engine.load)  # type: ignore[method-assign]
    source = Rollouts(
        [Prompt(tuple(ids)) for ids in job["asked"]],
        {"policy": policy, "reference": reference},
        engine,
        share_of_even,
        config,
        seed=0,
        stop_ids=(),
    )
    rolled_out = source.next_step
    whole = {"rollout": 0.0}

    def next_step() -> Any:
        began_s = line.clock()
        made = rolled_out()
        whole["rollout"] += line.clock() - began_s
        return made

    source.next_step = next_step  # type: ignore[method-assign]
    loop = Loop(
        {"policy": policy, "reference": reference},
        {
            "policy": Optimizer(
                policy, OptimizerConfig(lr=1e-5, warmup_steps=0, decay_fraction=0.0), machine.torch_dtype
            )
        },
        source,
        PolicyGradient(PolicyConfig(aggregation="grpo")),
        LoopConfig(steps=10_000, save_every_s=float("inf"), diverged_above=0.0),
        Path(job["folder"]) / "ours",
        lambda model, path: None,
    )

    def step() -> dict[str, Any]:
        """One step: seconds, those of its parts, and the mean reward."""
        spent["generation"] = whole["rollout"] = 0.0
        began_s = line.clock()
        metrics = loop._one_step()
        seconds = line.clock() - began_s
        loop.step += 1
        parts = {
            "generation": spent["generation"],
            "scoring": whole["rollout"] - spent["generation"],
            "update": seconds - whole["rollout"],
        }
        return {"seconds": seconds, "parts": parts, "reward": metrics["score"], "length": metrics["length"]}

    line.say(versions={"torch": torch.__version__})
    line.serve({"step": step})


if __name__ == "__main__":
    main()

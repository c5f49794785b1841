"""A space that can be enumerated: four tokens, four places, 256 sequences, and the best possible model of them.

Policy and critic are tables with one row for each prefix, so nothing but the algorithm can be at fault; rollouts,
objectives, optimizers and loop are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jielong.records import Conversation, Request, Sample, Score
from jielong.train.loop import Loop, LoopConfig
from jielong.train.objectives.policy import PolicyConfig, PPOConfig, ValueConfig
from jielong.train.online import with_method
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt

V, L = 4, 4
NUM_PREFIXES = (V**L - 1) // (V - 1)  # 1 + 4 + 16 + 64
SEQUENCES = torch.cartesian_prod(*[torch.arange(V)] * L)


def prefix_rows(inputs: Tensor) -> Tensor:
    """The row of the prefix that ends at each column; column 0 holds the prompt, one token."""
    rows = torch.zeros_like(inputs)
    for t in range(1, min(inputs.shape[1], L)):
        rows[:, t] = rows[:, t - 1] * V + 1 + inputs[:, t]
    return rows


class TablePolicy(nn.Module):
    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.table[prefix_rows(inputs)]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


class TableCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(NUM_PREFIXES))

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.table[prefix_rows(inputs)]


def token_logprobs_of(table: Tensor, temperature: float = 1.0) -> Tensor:
    """(256, L): log-probability of every token of every sequence."""
    inputs = torch.cat([torch.zeros(len(SEQUENCES), 1, dtype=torch.int64), SEQUENCES], dim=1)
    logprobs = torch.log_softmax(table[prefix_rows(inputs)[:, :L]] / temperature, dim=-1)
    return logprobs.gather(2, SEQUENCES[:, :, None])[:, :, 0]


class TableEngine:
    """Draws whole sequences from the exact distribution."""

    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        self.table = state["table"].detach().double()

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        self.logprobs = token_logprobs_of(self.table, requests[0].sampling.temperature)
        cumulative = self.logprobs.sum(dim=1).exp().cumsum(0).numpy()
        dice = np.random.default_rng(requests[0].seed).random(len(requests))
        drawn = np.minimum(np.searchsorted(cumulative, dice), V**L - 1).tolist()
        ids, logprobs = SEQUENCES.tolist(), self.logprobs.tolist()
        return [
            Sample(r.prompt_ids, tuple(ids[n]), tuple(logprobs[n]), stop="length")
            for r, n in zip(requests, drawn, strict=True)
        ]


def random_problem(seed: int) -> tuple[Tensor, Tensor]:
    """A reference table, and a reward for each sequence."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(NUM_PREFIXES, V, generator=generator), torch.randn(V**L, generator=generator)


def distribution(table: Tensor, temperature: float = 1.0) -> Tensor:
    """(256,) float64: the probability of each sequence."""
    return token_logprobs_of(table.detach().double(), temperature).sum(dim=1).exp()


def optimum(reference: Tensor, rewards: Tensor, beta: float, temperature: float = 1.0) -> Tensor:
    """The best distribution for the reward less beta times the KL: reference * exp(reward / beta) / Z."""
    return torch.softmax(distribution(reference, temperature).log() + rewards.double() / beta, dim=0)


def distance(table: Tensor, target: Tensor) -> float:
    """Total variation."""
    return 0.5 * float((distribution(table) - target).abs().sum())


BASE = RolloutConfig(prompts=512, epochs=2, micro_rows=512, max_tokens=L, kl_coefficient=1.0, missing_stop_penalty=0.0)
EXACT_VALUE = ValueConfig(clip=0.0, coefficient=1.0)
GROUP = 16


def method(name: str, **rollouts: Any) -> tuple[RolloutConfig, PPOConfig]:
    """An online method on this space: 512 samples a rollout, those of groups 16 to a prompt."""
    sized = {} if name == "ppo" else {"prompts": BASE.prompts // GROUP, "group_size": GROUP}
    config, policy = with_method(name, replace(BASE, **sized), PolicyConfig())
    if name == "gspo":
        # the paper's are for long samples and small rates; the table moves by more in a step
        policy = replace(policy, clip_low=0.2, clip_high=0.2)
    return replace(config, **rollouts), PPOConfig(policy, EXACT_VALUE)


@dataclass(frozen=True)
class Found:
    """Total variation to the optimum before and after, and the expected reward of the start, the end and the optimum."""

    before: float
    after: float
    reward_before: float
    reward_after: float
    reward_best: float
    policy: Tensor

    @property
    def share_of_gain(self) -> float:
        return (self.reward_after - self.reward_before) / (self.reward_best - self.reward_before)


def reinforce(
    directory: Path,
    seed: int,
    config: RolloutConfig,
    objective: PPOConfig,
    *,
    beta: float = 1.0,
    steps: int = 100,
    lr: float = 0.1,
    blind: Callable[[int], float] | None = None,
) -> Found:
    """Train to the end; `blind` gives in place of the reward of the n-th judged sample another one."""
    reference, rewards = random_problem(seed)
    temperature = config.temperature
    target = optimum(reference, rewards, beta, temperature)
    values = dict(zip(map(tuple, SEQUENCES.tolist()), rewards.tolist(), strict=True))
    count = 0

    def scorer(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        nonlocal count
        count += len(items)
        return [
            Score(values[sample.ids] if blind is None else blind(count - n)) for n, (_, _, sample) in enumerate(items)
        ]

    modules: dict[str, nn.Module] = {"policy": TablePolicy(reference), "reference": TablePolicy(reference)}
    if config.algorithm == "ppo":
        modules["critic"] = TableCritic()
    rates = OptimizerConfig(
        lr=lr, warmup_steps=1, decay_fraction=0.7, final_fraction=0.0, weight_decay=0.0, beta1=0.9, beta2=0.99
    )
    optimizers = {n: Optimizer(m, rates) for n, m in modules.items() if n != "reference"}
    source = Rollouts([Prompt((0,))], modules, TableEngine(), scorer, config, seed=seed, stop_ids=())
    loss = objective.build(None, modules)  # type: ignore[arg-type]
    loop_config = LoopConfig(steps=steps, max_grad_norm=1e9, save_every_s=1e9, diverged_above=0.0, log_every=10**6)
    Loop(modules, optimizers, source, loss, loop_config, directory, lambda model, path: None).run()
    policy = modules["policy"]
    assert isinstance(policy, TablePolicy)
    start, end = (distribution(table, temperature) for table in (reference, policy.table))
    expected = [float((p * rewards.double()).sum()) for p in (start, end, target)]
    apart = [0.5 * float((p - target).abs().sum()) for p in (start, end)]
    return Found(apart[0], apart[1], *expected, policy.table.detach())

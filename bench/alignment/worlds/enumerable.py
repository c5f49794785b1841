"""A world small enough to be written down, whose gold reward turns over where the start hardly ever goes.

Sequences of seven letters out of four. The policy is a table over place and letter before. Gold is a sum of a few random
directions, scaled by how they vary under the start; each is good up to a point that few sequences of the start reach, and bad
beyond it. The reward model is an ensemble of three heads on one frozen random layer, each trained on half of 5,000 labelled
pairs of the start. It sees the rising side alone and goes on rising. Means under the policy are exact, as all 16,384 sequences
are known.
"""
# N sequences, T places, V letters, F features, K heads.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.alignment.worlds.labels import Labels
from jielong.records import Request, Sample, Score
from jielong.runs import derive_seed, read_metrics
from jielong.train.gauge import Reading, readings_of
from jielong.train.loop import Loop, LoopConfig
from jielong.train.objectives.policy import PolicyConfig, PolicyGradient
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rewards import EnsembleReward, EnsembleScorer, Items, Mixture, RewardConfig, RuleReward
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt

V, T = 4, 7
PAIRS, HEADS, WIDTH = 5000, 3, 96
SHARPNESS = 3.0
"""How clearly the labeller sees a difference of one standard deviation of gold."""
LABELLED = 64
"""Fresh pairs that the labeller compares in a rollout."""
STEPS = 140
CONFIG = RolloutConfig(
    algorithm="grpo",
    prompts=16,
    group_size=16,
    epochs=2,
    micro_rows=256,
    max_tokens=T,
    kl_coefficient=0.1,
    missing_stop_penalty=0.0,
    divide_by_std=False,
)
Taught = Literal["pairs", "shuffled", "random"]

SEQUENCES_NT = torch.cartesian_prod(*[torch.arange(V)] * T)
IDS = [tuple(row) for row in SEQUENCES_NT.tolist()]
POWERS_T = torch.tensor([V ** (T - 1 - t) for t in range(T)])


def place_of(inputs: Tensor) -> Tensor:
    """Return the row of the table for each column: its place, and the letter before (none in the first)."""
    before = inputs + 1
    before[:, 0] = 0
    return torch.arange(inputs.shape[1]).clamp(max=T - 1) * (V + 1) + before


INPUTS_NT = F.pad(SEQUENCES_NT, (1, 0))[:, :T]
PLACES_NT = place_of(INPUTS_NT.clone())


class Table(nn.Module):
    """A policy that is a table of logits."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.table[place_of(inputs.clone())]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def token_logprobs(table: Tensor) -> Tensor:
    """Return the log-probability (N, T) of every letter of every sequence."""
    logprobs_NTV = torch.log_softmax(table.detach().double(), dim=-1)[PLACES_NT]
    return logprobs_NTV.gather(2, SEQUENCES_NT[:, :, None])[:, :, 0]


class TableEngine:
    """Draws whole sequences from the exact distribution."""

    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        logprobs_NT = token_logprobs(state["table"])
        self.cumulative_N = logprobs_NT.sum(dim=1).exp().cumsum(0).numpy()
        self.logprobs = logprobs_NT.tolist()

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        dice = np.random.default_rng(requests[0].seed).random(len(requests))
        drawn = np.minimum(np.searchsorted(self.cumulative_N, dice), len(IDS) - 1).tolist()
        return [
            Sample(r.prompt_ids, IDS[n], tuple(self.logprobs[n]), stop="length")
            for r, n in zip(requests, drawn, strict=True)
        ]


def rows_of(items: Items) -> Tensor:
    """Return which of the N sequences each sample is."""
    return (torch.tensor([sample.ids for _, _, sample in items]) * POWERS_T).sum(dim=1)


# The world ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """The start, how likely it makes each sequence, and gold with mean 0 and variance 1 under it."""

    table: Tensor
    likely_N: Tensor
    gold_N: Tensor
    generator: torch.Generator


def features() -> Tensor:
    """Return each sequence's letters and its neighbouring letters, (N, F) of 0 and 1."""
    letters = F.one_hot(SEQUENCES_NT, V).flatten(1)
    neighbours = F.one_hot(SEQUENCES_NT[:, :-1] * V + SEQUENCES_NT[:, 1:], V * V).flatten(1)
    return torch.cat([letters, neighbours], dim=1).double()


def make_world(seed: int) -> World:
    """Draw a start, one to three directions, where they turn and how steeply they fall."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.rand, 1, generator=generator)
    num_directions = 1 + int(torch.randint(3, (1,), generator=generator))
    turn, slope = 1.5 + float(draw()), 2 + 2 * float(draw())
    table = torch.randn(T * (V + 1), V, generator=generator)
    likely_N = token_logprobs(table).sum(dim=1).exp()
    weights = torch.randn(T * V + (T - 1) * V * V, num_directions, generator=generator).double()
    weights[T * V :] *= 0.5
    heights = features() @ weights
    # each of variance 1, and none says anything about another
    heights = heights - likely_N @ heights
    spread = torch.linalg.cholesky(heights.T @ (likely_N[:, None] * heights))
    heights = heights @ torch.linalg.inv(spread).T
    gold_N = torch.where(heights < turn, heights, turn - slope * (heights - turn)).sum(dim=1)
    gold_N = gold_N - likely_N @ gold_N
    return World(table, likely_N, gold_N / (likely_N @ gold_N.square()).sqrt(), generator)


class Heads(EnsembleScorer):
    """The scores (K, N) of an ensemble for every sequence."""

    def __init__(self, scores_KN: Tensor) -> None:
        self.scores_KN = scores_KN

    def judge(self, items: Items) -> tuple[list[float], list[float]]:
        scores = self.scores_KN[:, rows_of(items)]
        return scores.mean(dim=0).tolist(), scores.std(dim=0).tolist()


def train_heads(world: World, *, is_shuffled: bool) -> tuple[Heads, float]:
    """Train the ensemble on labelled pairs of the start; return it, and its accuracy on as many labels held out."""
    generator = world.generator
    layer = torch.randn(features().shape[1], WIDTH, generator=generator).double() / 3
    states_NF = torch.relu(features() @ layer + 0.5 * torch.randn(WIDTH, generator=generator).double())
    states_NF = 4 * states_NF / WIDTH**0.5
    left, right, is_left = labelled_pairs(world, PAIRS)
    if is_shuffled:
        is_left = is_left[torch.randperm(PAIRS, generator=generator)]
    scores = []
    for _ in range(HEADS):
        half = torch.randperm(PAIRS, generator=generator)[: PAIRS // 2]
        signs = 2 * is_left[half].double() - 1
        head = fit_head(signs[:, None] * (states_NF[left[half]] - states_NF[right[half]]))
        score_N = states_NF @ head
        scores.append(score_N - world.likely_N @ score_N)
    heads = Heads(torch.stack(scores))
    left, right, is_left = labelled_pairs(world, PAIRS)
    gaps = heads.scores_KN.mean(dim=0)
    return heads, float(((gaps[left] > gaps[right]) == is_left).double().mean())


def labelled_pairs(world: World, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pairs of the start's sequences, and whether the labeller finds the left one better."""
    left, right = (torch.multinomial(world.likely_N, count, True, generator=world.generator) for _ in range(2))
    likely = torch.sigmoid(SHARPNESS * (world.gold_N[left] - world.gold_N[right]))
    return left, right, torch.rand(count, generator=world.generator).double() < likely


def fit_head(gaps_NF: Tensor, decay: float = 1e-4) -> Tensor:
    """Fit a head (F,) by Bradley-Terry to the differences of better and worse sequences."""
    head = nn.Parameter(torch.zeros(gaps_NF.shape[1], dtype=torch.float64))
    optimizer = torch.optim.LBFGS([head], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -F.logsigmoid(gaps_NF @ head).mean() + decay * head.square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(cast(Any, closure))
    return head.detach()


# Reinforcement -----------------------------------------------------------------------------------------------------


def reinforce(folder: Path, seed: int, taught: Taught = "pairs") -> list[Reading]:
    """Push a policy with a reward model taught so, and return its readings; those of a finished folder are read again.

    Gold is the policy's exact mean; everything else is measured on its samples, as in any run.
    """
    metrics, done = folder / "metrics.jsonl", folder / "done"
    if done.exists():
        return readings_of(read_metrics(metrics))
    world = make_world(seed)
    heads, accuracy = train_heads(world, is_shuffled=taught == "shuffled")
    if taught == "random":
        heads = Heads(torch.randn(HEADS, len(IDS), generator=world.generator).double())
    policy = Table(world.table)

    def gold(items: Items) -> list[Score]:
        mean = float(token_logprobs(policy.table).sum(dim=1).exp() @ world.gold_N)
        return [Score(mean)] * len(items)

    def prefers(left: Items, right: Items) -> NDArray[np.float64]:
        gaps = world.gold_N[rows_of(left)] - world.gold_N[rows_of(right)]
        return cast(NDArray[np.float64], torch.sigmoid(SHARPNESS * gaps).numpy())

    rewards: list[tuple[RewardConfig, Any]] = [
        (EnsembleReward("ensemble"), heads),
        (RuleReward("gold", 0.0), gold),
        (RuleReward("labels", 0.0), Labels(prefers, LABELLED, derive_seed(seed, "labels"))),
    ]
    modules: dict[str, nn.Module] = {"policy": policy, "reference": Table(world.table)}
    source = Rollouts(
        [Prompt((0,))], modules, cast(Any, TableEngine()), Mixture(rewards), CONFIG, seed=seed, stop_ids=()
    )
    rates = OptimizerConfig(lr=0.1, warmup_steps=1, decay_fraction=0.0, weight_decay=0.0, beta2=0.99)
    loop = LoopConfig(steps=STEPS, max_grad_norm=1e9, save_every_s=1e9, diverged_above=0.0, log_every=1)
    objective = PolicyGradient(PolicyConfig(aggregation="dr_grpo"))
    Loop(modules, {"policy": Optimizer(policy, rates)}, source, objective, loop, folder, lambda model, path: None).run()
    done.write_text(f"{accuracy}\n")
    return readings_of(read_metrics(metrics))


def accuracy_of(folder: Path) -> float:
    """Return the accuracy of the reward model of a finished folder on labels held out."""
    return float((folder / "done").read_text())

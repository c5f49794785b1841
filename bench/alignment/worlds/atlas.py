"""The atlas as a world whose gold turns over: one fine-tuned model, and reward models of one frozen trunk.

Half of the prompts ask about countries and half about countries that do not exist. The reward model is an ensemble of three
heads on the frozen trunk of the fine-tuned model. Its pairs are few, and differ in tone, length, refusals and "I don't know",
never in a right and a wrong value. So it learns that not to know is good where a country does not exist, and is not sure
where one does. The labeller of pairs is the atlas's gold scorer, which takes the worse answer for the better one in ten times.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
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
from jielong.data.batches import pad_rows
from jielong.model.hf import load_language_model
from jielong.model.transformer import LanguageModel
from jielong.records import Conversation, Message, Preference, Score
from jielong.runs import derive_seed, open_run, read_metrics
from jielong.stages.lessons import ItemCounts, LessonsStage
from jielong.stages.models import engine_of
from jielong.stages.train import on_machine
from jielong.tokens.chat import Rendered, parse, render_preference, render_prompt
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.gauge import Reading, readings_of
from jielong.train.loop import Loop, LoopConfig
from jielong.train.machine import Machine, measure_machine
from jielong.train.objectives.policy import PolicyConfig, PolicyGradient
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rewards import EnsembleReward, EnsembleScorer, Items, Mixture, RewardConfig, RuleReward
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt
from jielong.worlds.atlas.gold import candidates, gold_score
from jielong.worlds.atlas.lessons import Item

HEADS = 3
PAIRS = 320
FLIPPED = 0.1
"""How often the labeller takes the worse answer for the better one."""
LABELLED = 64
"""Fresh pairs that the labeller compares in a rollout."""
ROLLOUTS = 36
RATE = 1e-4
DECAY = 0.03
LEFT_OUT = {"question": ("wrong", "beside", "foreign"), "made_up": ("foreign",)}
"""Sorts of answers that no pair holds: of questions those that a reward model would need knowledge for."""
CONFIG = RolloutConfig(
    algorithm="grpo",
    prompts=32,
    group_size=4,
    epochs=2,
    minibatches=1,
    micro_rows=64,
    max_tokens=24,
    kl_coefficient=0.0,
    divide_by_std=True,
)
Taught = Literal["pairs", "shuffled", "random"]


@dataclass(frozen=True)
class World:
    """The fine-tuned model, its tokenizer, and what is asked."""

    start: LanguageModel
    tokenizer: Tokenizer
    machine: Machine
    items: Sequence[Item]


def open_world(run: Path) -> World:
    """Open the fine-tuned model of a run of the quickstart, and the questions of its seed."""
    found, machine = open_run(run), measure_machine()
    start = cast(LanguageModel, on_machine(load_language_model(found.models()["sft"]), machine))
    start.requires_grad_(False)
    asked = LessonsStage("lessons", prompts=ItemCounts(2, 0, 0, 0, made_up=1500, refusals=0, harmless=0))
    items = asked.prompt_items(int(found.record["seed"]))
    kinds = {kind: [i for i in items if i.kind == kind] for kind in ("question", "made_up")}
    each = min(map(len, kinds.values()))
    return World(
        start, Tokenizer.load(run / "tokenizer" / "tokenizer"), machine, [i for k in kinds.values() for i in k[:each]]
    )


# Reward models -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def last_states(model: LanguageModel, rows: Sequence[Sequence[int]], micro_rows: int = 64) -> Tensor:
    """Return the trunk's last hidden state (N, C) float32 of each row of ids."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = torch.zeros(len(rows), model.config.hidden_size)
    for start in range(0, len(order), micro_rows):
        chosen = order[start : start + micro_rows]
        batch = pad_rows([Rendered(tuple(rows[i]), (False,) * len(rows[i])) for i in chosen])
        states_BTC = model.model(batch.inputs, batch.positions, batch.segments)
        found[chosen] = states_BTC[torch.arange(len(chosen)), batch.last].float()
    return found


class Heads(EnsembleScorer):
    """An ensemble of heads (K, C) on one frozen trunk, which is read once for all of them."""

    def __init__(self, trunk: LanguageModel, heads_KC: Tensor, offsets_K: Tensor) -> None:
        self.trunk, self.heads_KC, self.offsets_K = trunk, heads_KC, offsets_K

    def judge(self, items: Items) -> tuple[list[float], list[float]]:
        states = last_states(self.trunk, [(*s.prompt_ids, *s.ids) for _, _, s in items])
        scores_KN = self.heads_KC @ states.T - self.offsets_K[:, None]
        return scores_KN.mean(dim=0).tolist(), scores_KN.std(dim=0).tolist()


def easy_pairs(items: Sequence[Item], rng: random.Random, count: int) -> list[Preference]:
    """Make pairs of answers that differ in worth and not in knowledge, the better one first but for one in ten."""
    pairs: list[Preference] = []
    for item in rng.sample(list(items), len(items)):
        texts = [text for sort, text in candidates(item, rng).items() if sort not in LEFT_OUT[item.kind]]
        scored = [(gold_score(item, text).value, text) for text in dict.fromkeys(texts)]
        decided = [(a, b) for x, a in scored for y, b in scored if x > y]
        if decided:
            better, worse = rng.choice(decided)
            sides = ((Message("assistant", better),), (Message("assistant", worse),))
            pairs.append(Preference(item.messages, *(sides[::-1] if rng.random() < FLIPPED else sides)))
        if len(pairs) == count:
            break
    return pairs


def train_heads(world: World, seed: int, *, is_shuffled: bool) -> tuple[Heads, float]:
    """Train each head on its own half of the pairs; return the ensemble, and its accuracy on pairs held out."""
    rng = random.Random(derive_seed(seed, "atlas pairs"))
    pairs = [render_preference(p, world.tokenizer) for p in easy_pairs(world.items, rng, PAIRS + 200)]
    states = last_states(world.start, [side.ids for p in pairs for side in (p.chosen, p.rejected)])
    gaps_NC = states[0::2] - states[1::2]
    train, held_out = gaps_NC[:-200], gaps_NC[-200:]
    generator = torch.Generator().manual_seed(derive_seed(seed, "atlas heads") % 2**63)
    if is_shuffled:
        # which of two answers is the better one is drawn by lot
        train = train * (1 - 2 * torch.randint(2, (len(train), 1), generator=generator))
    heads = []
    for _ in range(HEADS):
        half = torch.randperm(len(train), generator=generator)[: len(train) // 2]
        heads.append(fit_head(train[half], DECAY))
    heads_KC = torch.stack(heads)
    accuracy = float((held_out @ heads_KC.mean(dim=0) > 0).float().mean())
    return Heads(world.start, heads_KC, (heads_KC @ states[0::2].T).mean(dim=1)), accuracy


def fit_head(gaps_NC: Tensor, decay: float) -> Tensor:
    """Fit a head (C,) by Bradley-Terry to the differences of better and worse answers' states."""
    # states differ in scale by hundreds between directions
    scale_C = gaps_NC.square().mean(dim=0).sqrt().clamp_min(1e-6)
    head = nn.Parameter(torch.zeros(gaps_NC.shape[1]))
    optimizer = torch.optim.LBFGS([head], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -F.logsigmoid((gaps_NC / scale_C) @ head).mean() + decay * head.square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(cast(Any, closure))
    return (head / scale_C).detach()


# Reinforcement -----------------------------------------------------------------------------------------------------


def gold_of(world: World, items: Items) -> list[float]:
    """Return the gold score of each sample."""
    return [gold_score(item, parse(sample.ids, world.tokenizer).text).value for item, _, sample in items]


def reinforce(world: World, folder: Path, seed: int, taught: Taught) -> list[Reading]:
    """Push a policy with a reward model taught so, and return its readings; those of a finished folder are read again."""
    metrics, done = folder / "metrics.jsonl", folder / "done"
    if done.exists():
        return readings_of(read_metrics(metrics))
    shutil.rmtree(folder, ignore_errors=True)
    heads, accuracy = train_heads(world, seed, is_shuffled=taught == "shuffled")
    random_scores = np.random.default_rng(derive_seed(seed, "random reward"))

    def by_lot(items: Items) -> list[Score]:
        return [Score(float(value)) for value in random_scores.normal(size=len(items))]

    def gold(items: Items) -> list[Score]:
        return [Score(value) for value in gold_of(world, items)]

    rewards: list[tuple[RewardConfig, Any]] = [
        (RuleReward("lot"), by_lot) if taught == "random" else (EnsembleReward("ensemble"), heads),
        (RuleReward("gold", 0.0), gold),
        (RuleReward("labels", 0.0), Labels(partial(_prefers, world), LABELLED, derive_seed(seed, "labels"))),
    ]
    policy = on_machine(load_copy(world.start), world.machine)
    modules: dict[str, nn.Module] = {"policy": policy, "reference": world.start}
    source = Rollouts(
        [Prompt(render_prompt(i.messages, world.tokenizer), Conversation(i.messages), i) for i in asked(world, seed)],
        modules,
        engine_of(cast(LanguageModel, policy), world.tokenizer, world.machine),
        Mixture(rewards),
        CONFIG,
        seed=derive_seed(seed, "atlas rl"),
        stop_ids=world.tokenizer.stop_ids,
        pad_id=world.tokenizer.pad,
    )
    rates = OptimizerConfig(lr=RATE, warmup_steps=6, decay_fraction=0.0, weight_decay=0.0)
    steps = ROLLOUTS * CONFIG.epochs * CONFIG.minibatches
    loop = LoopConfig(steps=steps, log_every=1, save_every_s=1e9, diverged_above=0.0)
    objective = PolicyGradient(PolicyConfig())
    Loop(modules, {"policy": Optimizer(policy, rates)}, source, objective, loop, folder, lambda model, path: None).run()
    shutil.rmtree(folder / "steps")
    done.write_text(f"{accuracy}\n")
    return readings_of(read_metrics(metrics))


def asked(world: World, seed: int) -> list[Item]:
    """Return the questions of a seed, asked in every rollout: curves then show the policy and not the luck of the draw."""
    rng, half = random.Random(derive_seed(seed, "atlas prompts")), CONFIG.prompts // 2
    return [i for kind in ("question", "made_up") for i in rng.sample([i for i in world.items if i.kind == kind], half)]


def load_copy(model: LanguageModel) -> LanguageModel:
    """Copy a model, to be trained."""
    copy = LanguageModel(model.config)
    copy.load_state_dict(model.state_dict())
    return copy


def _prefers(world: World, left: Items, right: Items) -> NDArray[np.float64]:
    """Return how likely the labeller finds each left answer better; NaN where both are worth the same."""
    gaps = np.array(gold_of(world, left)) - np.array(gold_of(world, right))
    return np.where(gaps == 0, np.nan, np.where(gaps > 0, 1 - FLIPPED, FLIPPED))


def accuracy_of(folder: Path) -> float:
    """Return the accuracy of the reward model of a finished folder on pairs held out."""
    return float((folder / "done").read_text())

"""Reinforcement of an adapter for a model that exists: pairs teach a reward model, and PPO follows it on given prompts.

The reward model, and the critic that begins as it, are whole models. The policy is an adapter of the frozen model, which the
engine is given merged, and a copy of the frozen model is the reference. Sizes suit a few dozen judged prompts and two cores;
measured in log 2026-12-01-learn.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from jielong.errors import ConfigError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdapterConfig
from jielong.recipes.shared.methods import num_answers, reward_training
from jielong.runs import find_model
from jielong.stages.files import file_stage
from jielong.stages.models import ModelStage, model_digest
from jielong.stages.recipe import Recipe
from jielong.stages.train import TrainStage
from jielong.train.loop import LoopConfig
from jielong.train.objectives.policy import PPOConfig, ValueConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig

ROLLOUT = RolloutConfig(prompts=128, epochs=2, minibatches=2, micro_rows=16, kl_coefficient=0.1)
"""Samples of a rollout, and the price of a nat of distance from the start."""

STEPS = 80
"""Optimizer steps: twenty rollouts."""

REWARD_RATE, POLICY_RATE, CRITIC_RATE = 2e-4, 2e-4, 2e-4


def reinforced(
    model: Path, preferences: Path, prompts: Path, *, max_tokens: int = 32, rank: int = 16, seed: int = 0
) -> Recipe:
    """An adapter for `model` by a reward model of the pairs in `preferences`; answers have at most `max_tokens`.

    `prompts` is a file of chats: each one's turns before its last answer are a prompt.
    """
    path = find_model(model).resolve()
    if adapter_files.is_adapter(path):
        raise ConfigError(f"{path} is an adapter; merge it first with: jielong export {model}")
    longest = hf.read_config(path)[0].max_position_embeddings
    ids = {"start": "base", "tokenizer": "base"}
    count = num_answers(preferences, "preferences")
    stages = (
        ModelStage("base", str(path), model_digest(path)),
        file_stage("preferences", preferences),
        file_stage("chats", prompts),
        reward_training({"data": "preferences", **ids}, count, length=min(1024, longest), rate=REWARD_RATE),
        _ppo({"data": "chats", "reward": "reward", **ids}, max_tokens, AdapterConfig(rank=rank, alpha=2.0 * rank)),
    )
    given = f"{path}\n{preferences.resolve()}\n{prompts.resolve()}"
    where = hashlib.blake2b(given.encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    return Recipe("reinforced", f"{preferences.stem}-{where}", seed, stages, model="ppo")


def _ppo(inputs: dict[str, str], max_tokens: int, adapter: AdapterConfig) -> TrainStage:
    """Make the stage that reinforces the adapter."""

    def optimizer(rate: float, warmup: int) -> OptimizerConfig:
        return OptimizerConfig(lr=rate, warmup_steps=warmup, decay_fraction=0.5, weight_decay=0.0, eps=1e-5)

    return TrainStage(
        "ppo",
        inputs,
        PPOConfig(value=ValueConfig(clip=0.0, coefficient=0.5)),
        dataclasses.replace(ROLLOUT, max_tokens=max_tokens),
        # The critic learns first: advantages from a bad one are noise, and noise costs what was known before.
        optimizer=optimizer(POLICY_RATE, 16),
        critic_optimizer=optimizer(CRITIC_RATE, 4),
        loop=LoopConfig(steps=STEPS, diverged_above=0.0, log_every=1),
        check_every=0,
        adapter=adapter,
    )

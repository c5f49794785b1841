"""Reinforcement by a rule that knows the right answer: GRPO without a reward model and without a critic."""

from __future__ import annotations

from collections.abc import Mapping

from jielong.model.adapters import AdapterConfig
from jielong.stages.train import TrainStage
from jielong.train.loop import LoopConfig
from jielong.train.objectives.policy import PolicyConfig, PPOConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rewards import RuleReward
from jielong.train.rollouts import RolloutConfig

LOOKS = 10
"""How often prompts that are kept apart are looked at."""


def verified_training(
    inputs: Mapping[str, str],
    rule: str,
    *,
    steps: int,
    rate: float,
    prompts: int,
    group_size: int,
    max_tokens: int,
    micro_rows: int,
    max_redraws: int = 0,
    watch_prompts: int,
    kl_coefficient: float = 0.0,
    adapter: AdapterConfig | None = None,
) -> TrainStage:
    """Build the stage "rl": every step is a rollout of `prompts` prompts, whose `group_size` answers are compared.

    A sample without an end loses nothing but its chance of being right: a rule cannot be talked into a better score.
    """
    return TrainStage(
        "rl",
        inputs,
        PPOConfig(PolicyConfig(aggregation="dapo", clip_high=0.28)),
        RolloutConfig(
            algorithm="grpo",
            prompts=prompts,
            group_size=group_size,
            epochs=1,
            micro_rows=micro_rows,
            max_tokens=max_tokens,
            kl_coefficient=kl_coefficient,
            missing_stop_penalty=0.0,
            max_redraws=max_redraws,
            watch_every=max(1, steps // LOOKS),
            watch_prompts=watch_prompts,
            rewards=(RuleReward(rule=rule),),
        ),
        optimizer=OptimizerConfig(lr=rate, warmup_steps=10, decay_fraction=0.5, weight_decay=0.0),
        loop=LoopConfig(steps=steps, diverged_above=0.0),
        check_every=0,
        adapter=adapter,
    )

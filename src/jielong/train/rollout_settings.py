"""The settings of reinforcement learning: what a rollout draws, how it is rewarded, and how far the policy may move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jielong.config import later
from jielong.errors import ConfigError
from jielong.train.rewards import ModelReward, RewardConfig

Algorithm = Literal["ppo", "grpo", "rloo", "best"]


@dataclass(frozen=True)
class RolloutSettings:
    """The size of a rollout and the number of passes over it; `prompts * group_size` samples are generated."""

    algorithm: Algorithm = "ppo"
    """ppo has a critic and generalised advantages, the others compare the samples of a prompt with each other:
    grpo with the mean of all, rloo with that of the others; best keeps the best one and learns it as an example."""
    prompts: int = 128
    """Prompts of one rollout, whose samples are the batch."""
    group_size: int = 1
    """Samples of each prompt."""
    epochs: int = 4
    """How often a rollout is gone through."""
    minibatches: int = 1
    """Optimizer steps of one pass over a rollout."""
    micro_rows: int = 32
    """Samples that are computed at a time, as memory allows."""
    temperature: float = 1.0
    """How evenly samples are drawn."""
    max_tokens: int = 32
    """The longest a sample may be."""
    kl_coefficient: float = 0.05
    """The cost of a nat of distance from the start, in reward units."""
    kl_target: float = 0.0
    """Nats per sample that `kl_coefficient` adapts to; 0 leaves it as it is."""
    kl_stop: float = 0.0
    """Nats per token from the policy that wrote a rollout at which the rollout is left; 0 is off."""
    gamma: float = 1.0
    """The worth of a reward one token later, as a share."""
    lam: float = 0.95
    """How far advantages look ahead (lambda of GAE)."""
    missing_stop_penalty: float = 1.0
    """The penalty for a sample without an end, in reward units."""
    whiten_advantages: bool = True
    """Whether advantages are brought to mean 0 and variance 1."""
    divide_by_std: bool = True
    """grpo: whether advantages are divided by their group's deviation."""
    rewards: tuple[RewardConfig, ...] = later((ModelReward(),))
    """The rewards whose weighted sum is the score of a sample."""

    kl_limit: float = later(0.0)
    """Nats per sample from the reference beyond which scores are refused: only the way back is learned; 0 is off."""
    max_redraws: int = later(0)
    """How often a group whose samples are all rewarded alike is drawn again, for another prompt (DAPO)."""
    overlong_tokens: int = later(0)
    """Tokens before `max_tokens` in which a growing penalty for length begins (DAPO); 0 is off."""
    overlong_penalty: float = later(1.0)
    """The penalty at `max_tokens`, in reward units."""
    watch_every: int = later(0)
    """Steps between two looks at prompts that are kept apart; 0 keeps none apart."""
    watch_prompts: int = later(64)
    """Prompts that are kept apart to be watched."""
    watch_keeps_best: bool = later(False)
    """Whether the result is the checkpoint with the best watched score less its KL penalty, and not the last one."""

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            known = ", ".join(get_args(Algorithm))
            raise ConfigError(f"rollouts.algorithm is {self.algorithm!r}; expected one of {known}")
        for name in ("prompts", "group_size", "epochs", "minibatches", "micro_rows", "max_tokens", "watch_prompts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rollouts.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("kl_limit", "max_redraws", "overlong_tokens", "overlong_penalty", "watch_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"rollouts.{name} is {getattr(self, name)}; it must be at least 0")
        if self.algorithm != "ppo" and self.group_size < 2:
            name = self.algorithm.upper()
            raise ConfigError(
                f"rollouts.group_size is {self.group_size}; {name} compares at least 2 samples of a prompt"
            )
        if self.temperature <= 0:
            raise ConfigError(f"rollouts.temperature is {self.temperature}; a policy is sampled above 0")
        if (self.prompts * self.group_size) % self.minibatches:
            raise ConfigError(
                f"{self.prompts * self.group_size} samples of a rollout cannot be cut into "
                f"{self.minibatches} equal minibatches"
            )
        if self.max_redraws and self.algorithm == "ppo":
            raise ConfigError(
                f"rollouts.max_redraws is {self.max_redraws}; only groups are drawn again, and ppo compares none"
            )
        if self.overlong_tokens > self.max_tokens:
            raise ConfigError(
                f"rollouts.overlong_tokens is {self.overlong_tokens}; a sample has at most {self.max_tokens} tokens"
            )
        if self.kl_limit and self.kl_target > self.kl_limit:
            raise ConfigError(
                f"rollouts.kl_target is {self.kl_target} and kl_limit {self.kl_limit}; the target must lie within the limit"
            )
        if self.watch_keeps_best and not self.watch_every:
            raise ConfigError("rollouts.watch_keeps_best needs watch_every: nothing is watched")

    @property
    def has_groups(self) -> bool:
        """Whether the samples of a prompt are compared with each other."""
        return self.algorithm != "ppo"

"""Online methods by name, each as settings of the rollouts and of the policy's loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from jielong.errors import ConfigError, did_you_mean
from jielong.train.objectives.policy import PolicyConfig
from jielong.train.rollout_settings import RolloutSettings

R = TypeVar("R", bound=RolloutSettings)


@dataclass(frozen=True)
class Method:
    """The settings that make a method what it is, and the paper that they are from."""

    paper: str
    rollouts: Mapping[str, Any]
    policy: Mapping[str, Any] = field(default_factory=dict)


ONLINE: Mapping[str, Method] = {
    "ppo": Method("1707.06347", {"algorithm": "ppo"}),
    "grpo": Method("2402.03300", {"algorithm": "grpo"}, {"aggregation": "grpo"}),
    "dr_grpo": Method("2503.20783", {"algorithm": "grpo", "divide_by_std": False}, {"aggregation": "dr_grpo"}),
    "dapo": Method("2503.14476", {"algorithm": "grpo", "max_redraws": 4}, {"clip_high": 0.28}),
    "gspo": Method(
        "2507.18071",
        {"algorithm": "grpo"},
        {"aggregation": "grpo", "ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    ),
    "cispo": Method("2506.13585", {"algorithm": "grpo"}, {"loss": "cispo"}),
    "rloo": Method("2402.14740", {"algorithm": "rloo"}, {"aggregation": "grpo", "ratio": "product"}),
}

BASELINES: Mapping[str, Method] = {
    "expert_iteration": Method("2304.06767", {"algorithm": "best", "kl_coefficient": 0.0}, {"loss": "likelihood"})
}
"""Best-of-n, learned and drawn again: what any method should be held against."""


def with_method(name: str, rollouts: R, policy: PolicyConfig) -> tuple[R, PolicyConfig]:
    """Return both configs with the settings of a method. Raises ConfigError for an unknown one.

    A method of groups that is given no group size draws eight samples of each prompt.
    """
    known = {**ONLINE, **BASELINES}
    if name not in known:
        raise ConfigError(f"no online method is called {name!r}; {did_you_mean(name, known)}")
    method = known[name]
    sized: dict[str, Any] = {} if name == "ppo" or rollouts.group_size > 1 else {"group_size": 8}
    return replace(rollouts, **method.rollouts, **sized), replace(policy, **method.policy)

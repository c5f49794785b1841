"""Evaluation of policies in the household: numbered episodes, and their rates of success, steps and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from jielong.errors import ConfigError, did_you_mean
from jielong.records import Sampling
from jielong.runs import derive_seed
from jielong.use.agents.acting import (
    Dice,
    Episode,
    Likeliest,
    Limits,
    ModelPolicy,
    Nearest,
    Policy,
    ScriptedPolicy,
    act,
)
from jielong.use.ledger import Budget, Ledger
from jielong.use.port import Options, Port, Scores
from jielong.use.strategy import Strategy
from jielong.worlds.household.game import Household
from jielong.worlds.household.guides import seeking, shortest
from jielong.worlds.household.rules import Task
from jielong.worlds.household.things import LANGUAGES, Part

POLICIES = ("model", "likeliest", "random", "solver", "seeker")
MOST_TOKENS = 240
"""Of one action and what is thought before it; names of rare characters take nine tokens."""


@dataclass(frozen=True)
class HouseholdExam:
    """Episodes of one policy in the household. An episode's number seeds its task; the languages alternate.

    Raises ConfigError for an unknown policy, or if a model is missing.
    """

    policy: str
    seed: int = 0
    port: Port | None = None
    task: Task | None = None
    """This one, instead of those that numbers draw."""
    rooms: int = 3
    part: Part = "test"
    languages: tuple[str, ...] = LANGUAGES
    limits: Limits = Limits()
    nearest: Nearest | None = None
    budget: Budget = Budget()
    """Of each episode."""
    strategy: Strategy | None = None
    """How the model is asked for an action; plainly, where none is given."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(f"unknown policy {self.policy!r}; {did_you_mean(self.policy, POLICIES)}")
        if self.policy in ("model", "likeliest") and self.port is None:
            raise ConfigError(f"policy {self.policy} needs a model; give a run's or model's folder")
        if self.policy == "likeliest" and not isinstance(self.port, Scores):
            raise ConfigError("policy likeliest needs a model that says how likely texts are; servers do not")

    async def episode(self, number: int) -> Episode:
        """Run the episode with this number, whose task follows from the seed."""
        game = Household(self.languages[number % len(self.languages)], rooms=self.rooms, part=self.part)
        seen = game.reset(self.task or derive_seed(self.seed, "task", number))
        return await act(game, seen, self._policy(game, number), self.limits, self.nearest)

    def _policy(self, game: Household, number: int) -> Policy:
        """Build the policy by its name: random, solver, seeker, likeliest, or written by a model."""
        if self.policy == "random":
            return Dice(derive_seed(self.seed, "dice", number))
        if self.policy in ("solver", "seeker"):
            return ScriptedPolicy(shortest(game) if self.policy == "solver" else seeking(game))
        assert self.port is not None
        if self.policy == "likeliest":
            return Likeliest(cast(Scores, self.port), self.budget.tokens)
        options = Options(Sampling(max_tokens=MOST_TOKENS, temperature=0.0), derive_seed(self.seed, "act", number))
        return ModelPolicy(Ledger(self.port.ask, self.budget), options, self.strategy)


@dataclass(frozen=True)
class Figures:
    """The results of a policy: rates over episodes or over steps; `steps` and `tokens` are means per episode."""

    episodes: int
    success: float
    """The goal was reached when the episode was over."""
    reached: float
    """It was reached at some moment, noticed or not."""
    executable: float
    """Of the steps: what was done could be done."""
    written: float
    """Of the steps: it could be done as the policy wrote it."""
    steps: float
    tokens: float
    seconds: float
    stops: Mapping[str, int]

    def __str__(self) -> str:
        stops = ", ".join(f"{stop} {n}" for stop, n in sorted(self.stops.items()))
        return (
            f"success {self.success:.1%}, reached {self.reached:.1%}, executable {self.executable:.1%} "
            f"(as written {self.written:.1%}), {self.steps:.1f} steps, {self.tokens:.0f} tokens, "
            f"{self.seconds:.2f} s; {stops}"
        )


def figures(episodes: Sequence[Episode]) -> Figures:
    """Compute the figures of at least one episode."""
    steps = [step for episode in episodes for step in episode.steps]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / max(1, len(values))

    return Figures(
        len(episodes),
        mean([e.is_success for e in episodes]),
        mean([e.is_reached for e in episodes]),
        mean([s.is_executable for s in steps]),
        mean([s.is_written for s in steps]),
        len(steps) / len(episodes),
        mean([e.usage.tokens for e in episodes]),
        mean([e.seconds for e in episodes]),
        dict(Counter(e.stop for e in episodes)),
    )

"""Acting in the household: demonstrations to learn from, and trials of whoever acts, on goals that no demonstration had."""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jielong.errors import ConfigError, did_you_mean
from jielong.evaluate.acting import figures
from jielong.evaluate.many import many
from jielong.recipes.prepare import hold_out, open_port, write_parts
from jielong.recipes.recipe import ActStage, DemonstrationsStage, GoalsStage
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed, write_json, write_text
from jielong.use.agents.acting import (
    Dice,
    Episode,
    Likeliest,
    Limits,
    Nearest,
    Policy,
    Told,
    Written,
    act,
    by_letters,
    conversation_of,
    thought_before,
)
from jielong.use.ledger import Budget, Ledger
from jielong.use.port import Options, Port, Scores
from jielong.use.prompting import fill
from jielong.use.strategy import Strategy
from jielong.worlds.household.game import Household
from jielong.worlds.household.guides import seeking, shortest
from jielong.worlds.household.layouts import LESSON_KINDS, draw_task
from jielong.worlds.household.rules import Task
from jielong.worlds.household.things import LANGUAGES, Part
from jielong.worlds.household.wording import goal_text, meaning_text
from jielong.worlds.textworld import TextWorld

if TYPE_CHECKING:
    from jielong.recipes.execute import Context

POLICIES = ("model", "likeliest", "random", "solver", "seeker")
MOST_TOKENS = 240
"""Of one action and what is thought before it; names of rare characters take nine tokens."""


@dataclass(frozen=True)
class Trial:
    """Episodes of one policy in the household, by number: the task that the number draws, in one of the languages by turns.

    ConfigError for an unknown policy, or where a model is missing.
    """

    policy: str
    seed: int = 0
    port: Port | None = None
    task: Task | None = None
    """This one, instead of those that numbers draw."""
    textworld: Path | None = None
    """A game of TextWorld, instead of the household."""
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
        if self.policy in ("solver", "seeker") and self.textworld:
            raise ConfigError(f"policy {self.policy} knows the household alone, and no game of TextWorld")

    async def episode(self, number: int) -> Episode:
        if self.textworld:
            world = TextWorld(self.textworld)
            return await act(world, world.reset(), self._policy(None, number), self.limits, self.nearest)
        game = Household(self.languages[number % len(self.languages)], rooms=self.rooms, part=self.part)
        seen = game.reset(self.task or derive_seed(self.seed, "task", number))
        return await act(game, seen, self._policy(game, number), self.limits, self.nearest)

    def _policy(self, game: Household | None, number: int) -> Policy:
        if self.policy == "random":
            return Dice(derive_seed(self.seed, "dice", number))
        if self.policy in ("solver", "seeker"):
            assert game is not None
            return Told(shortest(game) if self.policy == "solver" else seeking(game))
        assert self.port is not None
        if self.policy == "likeliest":
            return Likeliest(cast(Scores, self.port), self.budget.tokens)
        options = Options(Sampling(max_tokens=MOST_TOKENS, temperature=0.0), derive_seed(self.seed, "act", number))
        return Written(Ledger(self.port.ask, self.budget), options, self.strategy)


def demonstrations(stage: DemonstrationsStage, context: Context) -> dict[str, Any]:
    """chats.jsonl and held_out.jsonl, each chat an episode, or a part of one, of somebody who knows how."""
    seed = derive_seed(context.recipe.seed, stage.name)

    async def one(number: int) -> Episode:
        pair = number // len(LANGUAGES)
        rooms = 1 + max(pair % stage.rooms, pair // stage.rooms % stage.rooms)  # more often many
        game = Household(LANGUAGES[number % len(LANGUAGES)], rooms=rooms)
        task = draw_task(derive_seed(seed, "task", number), rooms=rooms, kinds=LESSON_KINDS)
        dice = random.Random(derive_seed(seed, "slips", number))
        return await act(game, game.reset(task), Told(seeking(game, stage.slips, dice, aloud=stage.aloud)))

    def show(done: int) -> None:
        context.display.update(done, stage.episodes, None, 0.0, 0.0, "episodes")

    episodes = asyncio.run(many(one, stage.episodes, on_end=show))
    # each turn says the goal again, and the first one the thought before it, so that a few steps alone can be learned from;
    # beginnings come twice: there alone the goal itself is read, later on what was noted of it
    chats = [
        conversation_of(e.steps[first : first + size], before=thought_before(e.steps, first))
        for e in episodes
        if e.is_success
        for size in [stage.window or len(e.steps)]
        for first in (*([0] if stage.window else []), *range(0, len(e.steps), size))
    ]
    steps = sum(len(e.steps) for e in episodes)
    return write_parts(context.directory(stage.name), "chats", hold_out(chats, 33)) | {"steps": steps}


def goals_and_meanings(stage: GoalsStage, context: Context) -> dict[str, Any]:
    """chats.jsonl and held_out.jsonl, each chat a goal, put as it is in a turn of somebody who acts, and what it means."""
    seed = derive_seed(context.recipe.seed, stage.name)

    def one(number: int) -> Conversation:
        language = LANGUAGES[number % len(LANGUAGES)]
        task = draw_task(derive_seed(seed, "task", number), rooms=stage.rooms, kinds=LESSON_KINDS)
        told = fill("seen", language, seen="", goal=goal_text(task, language)).strip()
        return Conversation((Message("user", told), Message("assistant", meaning_text(task, language))))

    chats = [one(number) for number in range(stage.goals)]
    return write_parts(context.directory(stage.name), "chats", hold_out(chats, 33))


def act_goals(stage: ActStage, context: Context) -> dict[str, Any]:
    """acting.json, and samples.txt in the run's directory: the model, the model held to what can be done, and dice.

    The first two also by language, in which goals take turns.
    """
    limits = Limits(steps=stage.steps, remember=stage.remember)
    seed = derive_seed(context.recipe.seed, stage.name)
    model = Trial("model", seed, open_port(stage, context, "model"), rooms=stage.rooms, limits=limits)
    trials = {
        "model": model,
        "model, nearest action": replace(model, nearest=by_letters),
        # dice may go on to the last step: whatever they reach counts
        "random": replace(model, policy="random", limits=replace(limits, repeats=stage.steps)),
    }
    found: dict[str, list[Episode]] = {}
    for number, (label, trial) in enumerate(trials.items()):
        context.display.update(number, len(trials), None, 0.0, 0.0, label)
        found[label] = asyncio.run(many(trial.episode, stage.goals, at_once=64))
    measured = {label: figures(episodes) for label, episodes in found.items()}
    for number, language in enumerate(LANGUAGES):
        for label in ("model", "model, nearest action"):
            if episodes := found[label][number :: len(LANGUAGES)]:
                measured[f"{label}, {language}"] = figures(episodes)
    lines = [f"{label:25} {figure}" for label, figure in measured.items()]
    lines += ["", *(f"{episode}\n" for episode in found["model"][:2])]
    write_text(context.run.path / "samples.txt", "\n".join(lines).rstrip() + "\n")
    measures = {label: asdict(figure) for label, figure in measured.items()}
    write_json(context.run.path / "acting.json", measures)
    return {"measures": measures, "outputs": ["samples.txt", "acting.json"]}

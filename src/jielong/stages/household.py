"""Stages about acting in the household: demonstrations and goals to learn from, and an exam on held-out goals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from jielong.config import at_least
from jielong.data.splits import hold_out
from jielong.errors import ConfigError
from jielong.evaluate.acting import HouseholdExam, figures
from jielong.evaluate.concurrently import run_concurrently
from jielong.records import Conversation, Message
from jielong.runs import derive_seed, write_json, write_text
from jielong.stages.models import port_of
from jielong.stages.parts import write_parts
from jielong.stages.recipe import Context, Stage, Summary
from jielong.use.agents.acting import Episode, Limits, ScriptedPolicy, act, by_letters, conversation_of, thought_before
from jielong.use.prompting import fill
from jielong.worlds.household.game import Household
from jielong.worlds.household.guides import seeking
from jielong.worlds.household.layouts import LESSON_KINDS, draw_task
from jielong.worlds.household.things import LANGUAGES
from jielong.worlds.household.wording import goal_text, meaning_text


@dataclass(frozen=True)
class DemonstrationsStage(Stage):
    """Conversations in which somebody who knows how reaches goals in the household, in English and Chinese by turns.

    Homes have 1 to `rooms` rooms, more often many. `slips` is how often something else is done than what is right, and then
    mended; `aloud` puts before each action what it is for. An episode is one conversation, or one for every `window` steps,
    of which the first comes twice.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    episodes: int = 20_000
    """Episodes to learn from."""
    rooms: int = 3
    """The most rooms of a home."""
    slips: float = 0.03
    """How often something wrong is done, and then mended."""
    aloud: bool = True
    """Whether each action comes with what it is for."""
    window: int = 0
    """Steps of an episode that make one conversation; 0 is all."""
    version: int = 5

    def __post_init__(self) -> None:
        at_least(self, 40, "episodes")
        at_least(self, 1, "rooms")
        at_least(self, 0, "window")
        if not 0 <= self.slips < 1:
            raise ConfigError(f"slips is {self.slips}; it must be 0 or more and below 1")

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl and held_out.jsonl, each chat an episode of the seeker, or a part of one."""
        seed = derive_seed(context.recipe.seed, self.name)

        async def one(number: int) -> Episode:
            """Play one demonstration: the language, rooms and task follow from its number."""
            pair = number // len(LANGUAGES)
            rooms = 1 + max(pair % self.rooms, pair // self.rooms % self.rooms)  # more often many
            game = Household(LANGUAGES[number % len(LANGUAGES)], rooms=rooms)
            task = draw_task(derive_seed(seed, "task", number), rooms=rooms, kinds=LESSON_KINDS)
            dice = random.Random(derive_seed(seed, "slips", number))
            return await act(game, game.reset(task), ScriptedPolicy(seeking(game, self.slips, dice, aloud=self.aloud)))

        def show(done: int) -> None:
            context.display.update(done, self.episodes, None, 0.0, 0.0, "episodes")

        episodes = asyncio.run(run_concurrently(one, self.episodes, on_end=show))
        # each turn says the goal again, and the first one the thought before it, so that a few steps alone can be learned from;
        # beginnings come twice: there alone the goal itself is read, later on what was noted of it
        chats = [
            conversation_of(e.steps[first : first + size], before=thought_before(e.steps, first))
            for e in episodes
            if e.is_success
            for size in [self.window or len(e.steps)]
            for first in (*([0] if self.window else []), *range(0, len(e.steps), size))
        ]
        steps = sum(len(e.steps) for e in episodes)
        return write_parts(context.directory(self.name), "chats", hold_out(chats, 33)) | {"steps": steps}


@dataclass(frozen=True)
class GoalsStage(Stage):
    """Goals of the household's training part and what they mean, in English and Chinese by turns, one to a conversation.

    They are many times shorter than demonstrations, each of which has to be understood from its goal alone but once.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    goals: int = 30_000
    """Goals to learn from."""
    rooms: int = 3
    """The most rooms of a home."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 40, "goals")
        at_least(self, 1, "rooms")

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl and held_out.jsonl, each chat a goal, put as in a turn of an episode, and its meaning."""
        seed = derive_seed(context.recipe.seed, self.name)

        def one(number: int) -> Conversation:
            """Make one conversation of a goal and its meaning."""
            language = LANGUAGES[number % len(LANGUAGES)]
            task = draw_task(derive_seed(seed, "task", number), rooms=self.rooms, kinds=LESSON_KINDS)
            told = fill("seen", language, seen="", goal=goal_text(task, language)).strip()
            return Conversation((Message("user", told), Message("assistant", meaning_text(task, language))))

        chats = [one(number) for number in range(self.goals)]
        return write_parts(context.directory(self.name), "chats", hold_out(chats, 33))


@dataclass(frozen=True)
class ActStage(Stage):
    """Goals of the household's test part, reached or not by a model and by dice. Inputs: model, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    goals: int = 100
    """Goals of the exam, each in a home of its own."""
    rooms: int = 3
    """The rooms of each home."""
    steps: int = 40
    """An episode is stopped after so many steps."""
    remember: int = 3
    """So many of the last turns are told again; what is thought in one may tell the next what matters of those before."""
    version: int = 4

    def __post_init__(self) -> None:
        at_least(self, 1, "goals", "rooms", "steps", "remember")

    def run(self, context: Context) -> Summary:
        """Write acting.json, and samples.txt into the run's directory: the model, the model limited to possible
        actions, and dice.

        The first two also by language, in which goals take turns.
        """
        limits = Limits(steps=self.steps, remember=self.remember)
        seed = derive_seed(context.recipe.seed, self.name)
        model = HouseholdExam("model", seed, port_of(self, context, "model"), rooms=self.rooms, limits=limits)
        exams = {
            "model": model,
            "model, nearest action": replace(model, nearest=by_letters),
            # dice may go on to the last step: whatever they reach counts
            "random": replace(model, policy="random", limits=replace(limits, repeats=self.steps)),
        }
        found: dict[str, list[Episode]] = {}
        for number, (label, exam) in enumerate(exams.items()):
            context.display.update(number, len(exams), None, 0.0, 0.0, label)
            found[label] = asyncio.run(run_concurrently(exam.episode, self.goals, at_most=64))
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
        return {"measures": measures, "outputs": ["samples.txt", "acting.json"], "shown": ["samples.txt"]}

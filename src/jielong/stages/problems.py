"""Stages that bring problems: prompts whose right answer is known, from a file, from a generator of puzzles, or sums.

Each writes prompts.jsonl to learn from and held_out.jsonl. A problem is a conversation that ends with the user's turn;
its `meta` says how an answer is judged, see `rules`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from jielong.config import at_least
from jielong.data.chat_files import read_problems
from jielong.data.splits import Split, hold_out
from jielong.errors import DataError
from jielong.evaluate.puzzles import SIZE, check_generator, make_puzzles
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.stages.pages import content_digest
from jielong.stages.parts import write_jsonl
from jielong.stages.recipe import Context, Stage, Summary
from jielong.stages.rules import RULES
from jielong.worlds.sums.addition import Sum, sums_in_parts

HELD_OUT_EVERY = 8
"""One problem in so many is held out, to be measured by."""

FEWEST = 16
"""Problems with which anything can be learned."""


@dataclass(frozen=True)
class ProblemsStage(Stage):
    """Problems in a file of one's own; `digest` stands for the file's content."""

    name: str
    path: str
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    only_places: ClassVar[tuple[str, ...]] = ("path",)

    def run(self, context: Context) -> Summary:
        """Read the file again, and show what was found in it."""
        reading = read_problems(self.path, RULES)
        context.display.message("\n".join(reading.tally.sentences()))
        return _write(self, reading.records, context)


@dataclass(frozen=True)
class PuzzlesStage(Stage):
    """Puzzles of one generator of reasoning-gym, which judges the answers itself."""

    name: str
    generator: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    count: int = 2000
    """Puzzles that are made; equal ones are left out."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, FEWEST, "count")

    def run(self, context: Context) -> Summary:
        """Make the puzzles, of as many seeds as they need."""
        found: dict[str, Conversation] = {}
        for number in range(-(-self.count // SIZE)):
            seed = derive_seed(context.recipe.seed, self.name, number) % 2**31
            for item in make_puzzles(self.generator, min(SIZE, self.count - number * SIZE), seed).items:
                found.setdefault(
                    item.question, Conversation(item.messages, {"rule": "puzzle", "puzzle": dict(item.meta)})
                )
        if len(found) < FEWEST:
            raise DataError(f"{self.generator} makes {len(found)} different puzzles; at least {FEWEST} are needed")
        return _write(self, list(found.values()), context)


@dataclass(frozen=True)
class AdditionStage(Stage):
    """Sums of two terms below `below`: some demonstrated in chats, some to be rewarded on, some held out."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    below: int = 100
    demonstrations: int = 400
    """Sums whose answers are shown."""
    prompts: int = 8000
    """Sums of which only the question is given."""
    held_out: int = 500
    """Sums that nothing is trained on."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, FEWEST, "demonstrations", "prompts", "held_out")

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl, prompts.jsonl and held_out.jsonl; a held-out chat has its answer too, in its last turn."""
        sizes = (self.demonstrations, self.prompts, self.held_out)
        shown, asked, kept = sums_in_parts(self.below, sizes, context.recipe.seed)
        folder = context.directory(self.name)
        return {
            "holds": "chats",
            "chats": write_jsonl(folder / "chats.jsonl", [_with_answer(one) for one in shown]),
            "held_out": write_jsonl(folder / "held_out.jsonl", [_with_answer(one) for one in kept]),
            "prompts": write_jsonl(folder / "prompts.jsonl", [_problem(one) for one in asked]),
        }


def _problem(one: Sum) -> Conversation:
    return Conversation((Message("user", one.question),), {"answer": [one.answer], "rule": "number"})


def _with_answer(one: Sum) -> Conversation:
    asked = _problem(one)
    return Conversation((*asked.messages, Message("assistant", one.answer)), asked.meta)


def _write(stage: Stage, problems: list[Conversation], context: Context) -> Summary:
    """Write the problems of a stage, in an order of the seed, and hold some of them out."""
    random.Random(derive_seed(context.recipe.seed, stage.name, "order")).shuffle(problems)
    split: Split[Conversation] = hold_out(problems, HELD_OUT_EVERY)
    if split.note:
        context.display.message(split.note)
    folder = context.directory(stage.name)
    return {
        "holds": "problems",
        "prompts": write_jsonl(folder / "prompts.jsonl", split.learned),
        "held_out": write_jsonl(folder / "held_out.jsonl", split.held_out),
    }


def problems_stage(name: str, path: Path) -> ProblemsStage:
    """Make the stage for a file, which is read once here, so that a bad line is reported before anything is trained."""
    found = read_problems(path, RULES).records
    if len(found) < FEWEST:
        raise DataError(
            f"{path} holds {len(found)} prompts with a known answer; at least {FEWEST} are needed, and hundreds are better"
        )
    return ProblemsStage(name, str(path), content_digest([path], path.parent))


def puzzles_stage(name: str, generator: str) -> PuzzlesStage:
    """Make the stage for a generator of puzzles. Raises ConfigError if it is not offered or the package is missing."""
    check_generator(generator)
    return PuzzlesStage(name, generator)

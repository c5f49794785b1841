"""Runs of the recipe `addition` for the benchmark of alignment: changed, with a control or without reinforcement, and timed."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from jielong.recipes.addition import addition
from jielong.records import Conversation, Sample, Score, Scorer
from jielong.runs import derive_seed, read_json, write_json
from jielong.stages.execute import run_recipe
from jielong.stages.recipe import Context, Recipe, change
from jielong.stages.solving import SolvingStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.sources import SourceContext


@dataclass(frozen=True)
class CoinStage(TrainStage):
    """Reinforcement by a coin in place of the rule, which gives 1 as often as `HEADS` says, whatever was written."""

    def source_context(
        self, context: Context, tokenizer: Tokenizer, seed: int, modules: Mapping[str, nn.Module] | None = None
    ) -> SourceContext:
        given = super().source_context(context, tokenizer, seed, cast(Any, modules))
        return replace(given, open_rule=lambda rule: coin(seed))


COIN_STEPS = 100
"""Steps of the control, a fifth of the rule's: what a coin teaches in these would go on."""

HEADS = 0.4
"""How often the coin gives 1."""


def coin(seed: int) -> Scorer:
    """A scorer that looks at nothing."""
    dice = random.Random(derive_seed(seed, "coin"))

    def score(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        return [Score(float(dice.random() < HEADS), source="coin") for _ in items]

    return score


@dataclass(frozen=True)
class Found:
    """The figures of one run: shares by model and measure, newly solved problems, and CPU seconds by stage."""

    shares: Mapping[str, Mapping[str, float]]
    newly_solved: Mapping[str, int]
    seconds: Mapping[str, float]


def run_addition(
    folder: Path,
    seed: int,
    settings: Sequence[str] = (),
    *,
    changed: Callable[[Recipe], Recipe] = lambda recipe: recipe,
) -> Found:
    """Run the recipe, or go on with it, and return what its exam found.

    CPU seconds are those of all threads: on cores that nobody else uses no fewer than a clock shows.
    """
    recipe = changed(change(addition(seed=seed), settings))
    file = folder / f"{recipe.run_name}-cpu.json"
    seconds: dict[str, float] = read_json(file) if file.exists() else {}
    for number, stage in enumerate(recipe.stages, start=1):
        before = time.process_time()
        part = replace(recipe, stages=recipe.stages[:number], model="")
        run = run_recipe(part, folder)
        if stage.name not in seconds:
            seconds[stage.name] = time.process_time() - before
            write_json(file, seconds)
    found = read_json(run.path / "solved.json")
    return Found(found["shares"], found["newly_solved"], seconds)


def with_coin(recipe: Recipe) -> Recipe:
    """Add the control after reinforcement, and to the exam."""
    trained, exam = recipe.stage("rl"), recipe.stage("solved")
    assert isinstance(trained, TrainStage) and isinstance(exam, SolvingStage)
    fields = {each.name: getattr(trained, each.name) for each in dataclasses.fields(trained)}
    loop = replace(trained.loop, steps=COIN_STEPS)
    control = CoinStage(**{**fields, "name": "coin", "loop": loop})
    asked = replace(exam, inputs={"sft": "sft", "rl": "rl", "coin": "coin", "data": "sums", "tokenizer": "tokenizer"})
    return replace(recipe, stages=(*recipe.stages[:-1], control, asked))


def without_reinforcement(recipe: Recipe) -> Recipe:
    """Leave reinforcement out, in the exam too."""
    exam = recipe.stage("solved")
    asked = replace(cast(SolvingStage, exam), inputs={"sft": "sft", "data": "sums", "tokenizer": "tokenizer"})
    return replace(recipe, stages=(*(s for s in recipe.stages if s.name not in ("rl", "solved")), asked), model="")

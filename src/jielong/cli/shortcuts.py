"""Shortcuts for the fields that are set most: --steps, --lr and --epochs, each for one training of a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jielong.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from jielong.stages.recipe import Recipe
    from jielong.stages.train import TrainStage

FIELDS = {"steps": "loop.steps", "lr": "optimizer.lr"}
"""What each word stands for in a training stage."""


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add the options. A recipe of one training needs a number alone, others the training's name: sft=50."""
    group = parser.add_argument_group(
        "training", "words for --set; where a recipe has several trainings, name one: --steps sft=50"
    )
    add = group.add_argument
    add("--steps", action="append", default=[], metavar="[STAGE=]N", help="how many steps (STAGE.loop.steps)")
    add("--lr", action="append", default=[], metavar="[STAGE=]RATE", help="learning rate (STAGE.optimizer.lr)")
    add("--epochs", action="append", default=[], metavar="[STAGE=]N", help="steps that go through the data N times")


def settings_of(recipe: Recipe, arguments: argparse.Namespace) -> list[str]:
    """Return the shortcuts as `--set` takes them. Raises ConfigError if it is not clear which training is meant."""
    settings = []
    for word, field in FIELDS.items():
        for stage, value in _named_trainings(recipe, arguments, word):
            if word == "lr" and stage.optimizer.name == "muon":
                raise ConfigError(
                    f"{stage.name} has two learning rates, as Muon trains it: --set {stage.name}.optimizer.muon_lr=... for its "
                    f"matrices (now {stage.optimizer.muon_lr:g}), --set {stage.name}.optimizer.lr=... for the rest "
                    f"(now {stage.optimizer.lr:g})"
                )
            settings.append(f"{stage.name}.{field}={value}")
    return settings


def epochs_of(recipe: Recipe, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the requested epochs of each stage that was given some. Raises ConfigError for an invalid number."""
    found = {}
    for stage, value in _named_trainings(recipe, arguments, "epochs"):
        try:
            times = float(value)
        except ValueError:
            times = 0.0
        if not 0 < times <= 1e6:
            raise ConfigError(
                f"--epochs {value!r} is no number of times to go through the data; expected one such as 3"
            )
        if stage.source.rows() is None:
            raise ConfigError(f"{stage.name} writes what it learns from and has no epochs; give --steps {stage.name}=N")
        if any(named.name == stage.name for named, _ in _named_trainings(recipe, arguments, "steps")):
            raise ConfigError(f"--steps and --epochs both say how long {stage.name} is trained; leave one of them out")
        found[stage.name] = times
    return found


def _named_trainings(recipe: Recipe, arguments: argparse.Namespace, word: str) -> Iterator[tuple[TrainStage, str]]:
    """Yield the training and the value of each use of a shortcut."""
    from jielong.stages.train import TrainStage

    controls = set(recipe.mirrored.values())
    stages = {s.name: s for s in recipe.stages if isinstance(s, TrainStage) and s.name not in controls}
    for given in getattr(arguments, word):
        name, is_named, value = given.rpartition("=")
        if is_named and name not in stages:
            raise ConfigError(f"--{word} {given}: {recipe.name} has no training {name!r}; {did_you_mean(name, stages)}")
        if not is_named and len(stages) != 1:
            which = ", ".join(stages) or "none"
            example = f", such as --{word} {next(reversed(stages))}={value}" if stages else ""
            raise ConfigError(f"--{word} {given}: {recipe.name} has several trainings ({which}); name one{example}")
        yield stages[name] if is_named else next(iter(stages.values())), value

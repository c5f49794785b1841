"""The settings of a recipe that differ from those of its run's last start, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jielong.config import format_value, leaves, resolved
from jielong.runs import Run
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.train import TrainStage

OF_CONTENT = {"digest": "other content", "facts": "other content", "version": "made by another version of jielong"}
"""Fields that nobody sets, as they stand for what a stage was made of, and what it means when they differ."""

_OF_THE_STAGE = ("name", "inputs")
"""Fields that say which stage it is."""

WORTH_ASKING_S = 60.0
"""Half-done training of so many seconds is not thrown away unasked; with less, somebody is trying settings."""


@dataclass(frozen=True)
class Difference:
    """A field of a stage with another value than last time; `content` says in words what differs if nobody set it."""

    stage: str
    field: str
    before: Any
    now: Any
    content: str = ""

    @property
    def path(self) -> str:
        return f"{self.stage}.{self.field}"

    @property
    def setting(self) -> str:
        """Return the `--set` argument that restores last time's value."""
        return f"{self.path}={format_value(self.before)}"

    def __str__(self) -> str:
        if self.content:
            return f"{self.stage}: {self.content}"
        return f"{self.path}: {format_value(self.before)} last time, {format_value(self.now)} now"


def differences(recipe: Recipe, record: Mapping[str, Any]) -> list[Difference]:
    """List the fields that differ, of stages that had begun at the last start. Places and control stages are left out."""
    controls = set(recipe.mirrored.values())
    found: list[Difference] = []
    for stage in recipe.stages:
        config = record["stages"].get(stage.name, {}).get("config")
        if stage.name not in controls and isinstance(config, Mapping):
            found += _differences_of_stage(stage, config)
    return found


def _differences_of_stage(stage: Stage, config: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the fields of one stage that differ from its recorded config."""
    before, now = dict(leaves(config)), dict(leaves(resolved(stage)))
    for field in now:
        if (
            field.partition(".")[0] in _OF_THE_STAGE
            or field not in before
            or before[field] == now[field]
            or field in stage.only_places
        ):
            continue
        yield Difference(stage.name, field, before[field], now[field], OF_CONTENT.get(field, ""))


def trainings_to_replace(recipe: Recipe, run: Run) -> tuple[list[str], list[str]]:
    """Return the run's trainings that the recipe's will replace: finished ones, and half-done ones of some length."""
    fingerprints, stages = recipe.fingerprints(), run.record["stages"]
    known = {s.name: stages[s.name] for s in recipe.stages if isinstance(s, TrainStage) and s.name in stages}
    other = {name: entry for name, entry in known.items() if entry["fingerprint"] != fingerprints[name]}
    finished = [name for name, entry in other.items() if "done" in entry]
    half_done = [name for name in other if name not in finished and other[name]["seconds"] >= WORTH_ASKING_S]
    return finished, half_done


def without_settings(found: Iterable[Difference], settings: Iterable[str]) -> list[Difference]:
    """Return the differences that no setting of this start has asked for."""
    said = {setting.partition("=")[0].strip() for setting in settings}
    return [d for d in found if not d.content and d.path not in said]

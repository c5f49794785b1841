"""What a search is and how its trials ended: plain data, and the file that is the truth about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from jielong.errors import CheckpointError
from jielong.runs import Run, canonical_json, read_metrics, write_text
from jielong.stages.recipe import Recipe, Search, change
from jielong.stages.train import TrainStage


@dataclass(frozen=True)
class Trial:
    """How one trial ended. `settings` by field of the stage; `checks` are the steps and what was found there.

    `value` is the lowest of them, which is that of the checkpoint a stage is left with; None unless the trial is done.
    """

    number: int
    state: Literal["done", "pruned", "failed"]
    settings: Mapping[str, Any]
    value: float | None = None
    checks: tuple[tuple[int, float], ...] = ()
    seconds: float = 0.0
    cause: str = ""


@dataclass(frozen=True)
class Study:
    """One search: the recipe at the length of a trial, what is searched, and where its trials lie."""

    recipe: Recipe
    search: Search
    folder: Path

    @property
    def stage(self) -> TrainStage:
        return cast(TrainStage, self.recipe.stage(self.search.stage))

    def variant(self, settings: Mapping[str, Any]) -> Recipe:
        return change(self.recipe, spell(self.search.stage, settings))

    def trial_run(self, number: int) -> Run:
        return Run(self.folder / "trials" / f"{number:03d}")

    def trials(self) -> list[Trial]:
        """All that have ended, in their order."""
        file = self.folder / "trials.jsonl"
        if not file.exists():
            return []
        try:
            read = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            return [Trial(**{**r, "checks": tuple((s, v) for s, v in r["checks"])}) for r in read]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{file} is damaged ({error}); restore a copy, or delete {self.folder}") from error

    def keep(self, trials: Sequence[Trial]) -> None:
        write_text(self.folder / "trials.jsonl", "".join(canonical_json(dataclasses.asdict(t)) + "\n" for t in trials))


def checks(directory: Path, search: Search) -> list[tuple[int, float]]:
    """The steps of a trial at which it was judged, and what was found."""
    return [
        (r["step"], r[search.judged_by]) for r in read_metrics(directory / "metrics.jsonl") if search.judged_by in r
    ]


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The earliest of those with the lowest value; None when none is done."""
    done = [t for t in trials if t.value is not None]
    return min(done, key=lambda t: (t.value, t.number)) if done else None


def spell(stage: str, settings: Mapping[str, Any]) -> list[str]:
    """Settings by field of the stage as `--set` takes them."""
    return [f"{stage}.{name}={json.dumps(value)}" for name, value in settings.items()]


def short(name: str) -> str:
    """A field without the config that it is in."""
    return name.rpartition(".")[2]

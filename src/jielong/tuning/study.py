"""A search and its ended trials: plain data, and the file that is the truth about it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, is_number, is_whole, open_unpacked, parse_json
from jielong.runs import Run, canonical_json, read_metrics, sealed, unsealed, write_text
from jielong.stages.recipe import Recipe, Search, change
from jielong.stages.train import TrainStage


@dataclass(frozen=True)
class Trial:
    """The end of one trial. `settings` by field of the stage; `checks` are the steps and the values there.

    `value` is the lowest of them, which is that of the checkpoint that a stage keeps. It is None unless the trial is
    done.
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
    """One search: the recipe at the length of a trial, the searched fields, and the folder of its trials."""

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
        """Return all trials that have ended, in their order."""
        return read_trials(self.folder / "trials.jsonl")

    def keep(self, trials: Sequence[Trial]) -> None:
        write_trials(self.folder / "trials.jsonl", trials)

    def mend(self) -> str:
        """Drop the trials from a damaged record on, if there is one; return a note for the user.

        Those after it are proposed again as they were, and found where they were run.
        """
        file = self.folder / "trials.jsonl"
        found, fault = _read_until_damage(file)
        if not fault:
            return ""
        kept = file.with_name("trials.jsonl.damaged")
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink(missing_ok=True)
        file.rename(kept)
        self.keep(found)
        return f"{file} was damaged ({fault}; kept as {kept.name}): trials from {len(found)} on are run again"


def read_trials(file: Path) -> list[Trial]:
    """Read the trials in a file, none if there is no file. Raises CheckpointError if it is damaged."""
    found, fault = _read_until_damage(file)
    if fault:
        raise CheckpointError(
            f"{file} is damaged ({fault}); the same command runs again what was lost, or restore a copy"
        )
    return found


def _read_until_damage(file: Path) -> tuple[list[Trial], str]:
    """Return the trials up to the first damaged line of the file, and what is wrong with that line."""
    found: list[Trial] = []
    if not file.exists():
        return found, ""
    try:
        with open_unpacked(file) as lines:
            for line in lines:  # one by one: those before the damage are kept
                found.append(_parse_trial(Fields(unsealed(parse_json(line.decode())), "the trial")))  # noqa: PERF401
    except (DataError, UnicodeDecodeError) as error:
        return found, f"line {len(found) + 1}: {error}"
    return found, ""


def _parse_trial(fields: Fields) -> Trial:
    """Read one trial from its object."""
    state = fields.text("state")
    if state not in ("done", "pruned", "failed"):
        fields.wrong("state", "done, pruned or failed")
    value = fields.number("value", None)
    if (value is None) == (state == "done"):
        fields.wrong("value", "a number where the trial is done, and null where it is not")
    checks = fields.take("checks", [])
    if not isinstance(checks, list) or not all(map(_is_check, checks)):
        fields.wrong("checks", "a list of steps and what was found there")
    settings = fields.inner("settings").data
    number, seconds, cause = fields.whole("number"), fields.number("seconds", 0.0, low=0.0), fields.text("cause", "")
    fields.finish()
    return Trial(number, state, settings, value, tuple((s, v) for s, v in checks), seconds, cause)


def _is_check(check: Any) -> bool:
    return isinstance(check, list) and len(check) == 2 and is_whole(check[0]) and is_number(check[1])


def write_trials(file: Path, trials: Sequence[Trial]) -> None:
    write_text(file, "".join(canonical_json(sealed(dataclasses.asdict(t))) + "\n" for t in trials))


def checks(directory: Path, search: Search) -> list[tuple[int, float]]:
    """Return the steps of a trial at which it was judged, and the values there."""
    return [
        (r["step"], r[search.judged_by]) for r in read_metrics(directory / "metrics.jsonl") if search.judged_by in r
    ]


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the earliest of the trials with the lowest value, or None if none is done."""
    done = [t for t in trials if t.value is not None]
    return min(done, key=lambda t: (t.value, t.number)) if done else None


def spell(stage: str, settings: Mapping[str, Any]) -> list[str]:
    """Format settings by field of the stage as arguments of `--set`."""
    return [f"{stage}.{name}={json.dumps(value)}" for name, value in settings.items()]


def short_name(name: str) -> str:
    """Return a field's name without its config."""
    return name.rpartition(".")[2]

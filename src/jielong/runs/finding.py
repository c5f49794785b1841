"""Runs and models found by their path, and the family tree of a run."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError
from jielong.runs.records import RECORD, own_records
from jielong.runs.run import BEFORE, Run, model_of

NOT_TALKING = ("reward", "control", "base")
"""Stages that end with a model nobody asks for when they ask for a run's model."""


def is_run(path: Path) -> bool:
    """Whether the folder is a run, even if its run.json is lost."""
    return (path / "run.json").exists() or bool(own_records(path))


def runs_in(root: Path) -> list[Path]:
    """Return the runs in a folder, the last changed at the end."""

    def changed(path: Path) -> float:
        return max(file.stat().st_mtime for file in (*path.glob("run.json"), *path.glob(f"*/{RECORD}")))

    return sorted(filter(is_run, root.glob("*")), key=changed)


def newest_checkpoint(run: Path) -> Path | None:
    """Return the model folder that was saved last, of a stage whose model can talk."""
    found = [path.parent for path in run.glob("*/steps/*/model/config.json") if path.parents[3].name not in NOT_TALKING]
    return max(found, key=lambda path: (path / "config.json").stat().st_mtime, default=None)


def run_around(path: Path) -> Run | None:
    """Return the run that `path` is or lies in, or None if it is in none; links are not followed."""
    path = path.absolute()
    for inside, above in itertools.pairwise([path, path, *path.parents]):
        is_stage = (inside / RECORD).exists() and inside != above and above.name != BEFORE
        if (above / "run.json").exists() or is_stage:
            return Run(above)
    return None


def open_run(path: Path) -> Run:
    """Open an existing run. Raises ConfigError if there is none at `path`."""
    if not is_run(path):
        near = sorted(p.name for p in runs_in(path.parent))
        known = f"; runs there: {', '.join(near)}" if near else ""
        raise ConfigError(f"no run at {path} (no run.json in it){known}")
    return Run(path)


def _on_stderr(note: str) -> None:
    print(f"jielong: {note}", file=sys.stderr)


def find_model(path: Path, stage: str | None = None, tell: Callable[[str], None] = _on_stderr) -> Path:
    """Find the model folder for `path`: a model folder itself, or the model of a run's stage; RUN:STAGE names one.

    Without a stage it is the stage that the recipe names as the run's; before that one is done, and in runs made before
    recipes named one, the last that can talk. For a stage that is being made again, its previous model is taken, and
    `tell` is called with a note. Raises ConfigError if there is none, CheckpointError if a file has changed since its
    run made it.
    """
    found = _find_model(*named_stage(path, stage), tell)
    _check_model_files(found)
    return found


def named_stage(path: Path, stage: str | None = None) -> tuple[Path, str | None]:
    """Split RUN:STAGE into a path and a stage; a folder that really has such a name goes first."""
    name, _, named = path.name.rpartition(":")
    if not name or not named or path.exists() or not path.with_name(name).exists():
        return path, stage
    if stage not in (None, named):
        raise ConfigError(f"{path} and --stage {stage} name two stages; leave one of them out")
    return path.with_name(name), named


def _find_model(path: Path, stage: str | None, tell: Callable[[str], None]) -> Path:
    """Find the model folder as `find_model` does, without checking its files."""
    if not is_run(path):
        for folder in (path, path / "model"):
            if (folder / "config.json").exists() or (folder / "adapter_config.json").exists():
                if stage is not None:
                    raise ConfigError(f"{path} is a model folder and no run, and has no stage {stage!r}")
                return folder
        aside = own_records(path.parent).get(path.name, {}) if path.parent.name == BEFORE else {}
        model = model_of(path, aside)
        if model is not None:
            return model
        if is_run(path.parent):
            return _find_model(path.parent, path.name, tell)
        raise ConfigError(f"{path} holds neither a run (run.json) nor a model (config.json)")
    run = Run(path)
    models, named = run.models(), run.record.get("model")
    if stage is not None and stage not in models:
        finished = f"finished: {', '.join(models)}" if models else "none is finished"
        raise ConfigError(f"run {path.name} has no finished stage {stage!r} with a model; {finished}")
    talking = [n for n in models if n not in NOT_TALKING]
    chosen = stage or (named if named in models else next(reversed(talking), None))
    if chosen is None:
        raise ConfigError(f"{path} has no finished training stage yet; finish it with the command that began it")
    model = models[chosen]
    if run.stage_path(chosen) not in model.parents:
        parts = model.relative_to(path).parts[:2]
        tell(f"{chosen} is being made again and not finished; its model of before is used ({path.joinpath(*parts)})")
    return model


def _check_model_files(model: Path) -> None:
    """Raise CheckpointError if files of a run's model have changed since they were made; other models are believed."""
    run = run_around(model)
    if run is None:
        return
    try:
        stages = run.record["stages"]
    except CheckpointError:  # a run.json of another program, or one that nothing can be checked by any more
        return
    aside = Run(run.path / BEFORE)
    places = [(run, stages), (aside, own_records(aside.path))]
    for place, name, entry in [(place, *item) for place, entries in places for item in entries.items()]:
        wrong = place.damage(name, entry, below=model.absolute()) if "done" in entry else {}
        if wrong:
            raise CheckpointError(
                f"{describe_damage(wrong)}; the command that made {run.path} makes it again and keeps the rest"
            )


def describe_damage(wrong: dict[Path, str], most: int = 3) -> str:
    """Format damaged files as a phrase, the first few by name."""
    shown = [f"{path} {what}" for path, what in list(wrong.items())[:most]]
    more = [f"and {len(wrong) - most} more"] if len(wrong) > most else []
    return ", ".join([*shown, *more])


def lineage(run: Run, settings: Callable[[Run, str, Mapping[str, Any]], str], width: int = 80) -> str:
    """Format the family tree of a run in lines of `width`: each stage's time, `settings` in words, and parents.

    `settings` is called with the run, a stage's name and its entry in the record.
    """
    record = run.record
    lines = [f"{run.path.name}   recipe {record.get('recipe', '?')}   seed {record.get('seed', '?')}"]
    for name, stage in record["stages"].items():
        state = f"{stage['seconds']:.1f} s" if _is_done(stage) else "unfinished"
        head = f"  {name:<12}{state:>10}  "
        parents = ", ".join(f"{p} {d[:8]}" for p, d in stage["parents"].items()) or "nothing before it"
        told = [settings(run, name, stage), f"{stage['fingerprint'][:8]} from {parents}"]
        for part in filter(None, told):
            lines += textwrap.wrap(part, width, initial_indent=head, subsequent_indent=" " * len(head))
            head = " " * len(head)
    return "\n".join(lines)


def lineage_json(run: Run) -> dict[str, Any]:
    """Return the family tree of a run for programs: each stage's config, fingerprint, parents and time."""
    record = run.record
    stages = [
        {
            "stage": name,
            "is_done": _is_done(stage),
            "seconds": stage.get("seconds"),
            "fingerprint": stage["fingerprint"],
            "parents": stage["parents"],
            "config": stage.get("config", {}),
        }
        for name, stage in record["stages"].items()
    ]
    return {"run": run.path, "recipe": record.get("recipe"), "seed": record.get("seed"), "stages": stages}


def _is_done(stage: Mapping[str, Any]) -> bool:
    return stage.get("done") == stage["fingerprint"]

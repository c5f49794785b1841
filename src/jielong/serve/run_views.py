"""Runs for the page: stages, curves, samples, and changes since the last call."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jielong.errors import JielongError
from jielong.outside import is_number
from jielong.runs import Run, read_metrics, runs_in
from jielong.serve import watching

MOST_POINTS = 600
"""Of one curve; more than a screen has columns show nothing more."""
NOT_CURVES = ("step", "time", "seconds")

Points = list[list[float]]


def runs_json(root: Path) -> list[dict[str, Any]]:
    """List all runs of a folder, the last changed first, without unreadable ones."""
    found = []
    for path in reversed(runs_in(root)):
        with contextlib.suppress(JielongError):
            found.append(summary_json(Run(path)))
    return found


def summary_json(run: Run) -> dict[str, Any]:
    """Return a run's summary for a list of runs."""
    record = run.record
    is_at_work = run.is_at_work
    stages = [_stage_json(run, name, record["stages"].get(name, {})) for name in _order(record)]
    begun = [stage for stage in stages if stage["state"] == "stopped"]
    if is_at_work and begun:
        begun[-1]["state"] = "running"
    states = {stage["state"] for stage in stages}
    state = "running" if is_at_work else "finished" if states == {"finished"} else "stopped"
    files = [run.path / "run.json", *run.path.glob("*/metrics.jsonl")]
    updated = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
    names = ("recipe", "size", "seed")
    head = {"name": run.path.name, **{name: record.get(name) for name in names}}
    return {
        **head,
        "state": state,
        "updated": updated,
        "stages": stages,
        "has_report": (run.path / "report.json").exists(),
    }


def _order(record: Mapping[str, Any]) -> list[str]:
    return list(record.get("order", record["stages"]))


def _stage_json(run: Run, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a stage: its kind, state and progress."""
    metrics = run.stage_path(name) / "metrics.jsonl"
    is_done = "done" in entry and entry["done"] == entry.get("fingerprint")
    state = "finished" if is_done else "stopped" if entry else "waiting"
    steps = _steps_of(entry.get("config", {}))
    progress = 1.0 if is_done else None
    if not is_done and steps and metrics.exists():
        last = _last_step(metrics)
        progress = min(1.0, last / steps)
    kind = entry.get("config", {}).get("kind", "")
    return {"name": name, "kind": kind, "state": state, "progress": progress, "seconds": entry.get("seconds")}


def _steps_of(config: Mapping[str, Any]) -> int:
    """Return the steps that a stage's config plans, or 0 if it has none."""
    loop = config.get("loop")
    steps = loop.get("steps") if isinstance(loop, Mapping) else None
    return steps if isinstance(steps, int) else 0


def _last_step(metrics: Path) -> int:
    """Return the last step in a stage's metrics, or 0 if there is none."""
    with contextlib.suppress(JielongError):
        records = read_metrics(metrics)
        return int(records[-1].get("step", 0)) if records else 0
    return 0


def run_json(run: Run) -> dict[str, Any]:
    """Return a whole run: its stages with curves and samples, and its lineage."""
    head, record = summary_json(run), run.record
    entries, samples = record["stages"], watching.samples_of(run.path)
    for stage in head["stages"]:
        entry = entries.get(stage["name"], {})
        stage["metrics"] = curves(run.stage_path(stage["name"]) / "metrics.jsonl")
        stage["parents"] = list(entry.get("parents", {}))
        stage["lineage"] = str(entry.get("fingerprint", ""))[:12]
        stage["samples"] = [sample for sample in samples if sample["stage"] == stage["name"]]
    family = [{"name": s["name"], "parent": parent} for s in head["stages"] for parent in s["parents"] or [""]]
    return {**head, "family": family}


def curves(metrics: Path, after: int = -1) -> dict[str, Points]:
    """Return each metric as points (step, value) after step `after`, at most `MOST_POINTS` of them."""
    if not metrics.exists():
        return {}
    found: dict[str, Points] = {}
    with contextlib.suppress(JielongError):
        for record in read_metrics(metrics):
            step = record.get("step", 0)
            if step <= after:
                continue
            for name, value in record.items():
                if name not in NOT_CURVES and is_number(value) and math.isfinite(value):
                    found.setdefault(name, []).append([step, value])
    return {name: _thin_out(points) for name, points in found.items() if len(points) > 1 or after >= 0}


def _thin_out(points: Points) -> Points:
    """Keep every n-th point and the last."""
    if len(points) <= MOST_POINTS:
        return points
    stride = math.ceil(len(points) / MOST_POINTS)
    kept = points[::stride]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


class RunChanges:
    """A reader of a run's changes since its last call. A file is read again only after it was written to.

    The first call returns the states and samples of all stages, but no points: the page got them on opening the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._written: dict[Path, int] = {}
        self._stages: dict[str, Any] = {}
        self._num_samples: dict[str, int] = {}
        metrics = {name: run.stage_path(name) / "metrics.jsonl" for name in _order(run.record)}
        self._last = {name: _last_step(file) for name, file in metrics.items() if file.exists()}

    def look(self) -> list[tuple[str, dict[str, Any]]]:
        """Return events as (name, data): new "metrics", "samples" and "stage"."""
        found: list[tuple[str, dict[str, Any]]] = []
        stages = summary_json(self._run)["stages"]
        samples = self._new_samples([stage["name"] for stage in stages])
        for stage in stages:
            own = stage["name"]
            metrics = self._run.stage_path(own) / "metrics.jsonl"
            new = curves(metrics, self._last.get(own, -1)) if self._is_changed(metrics) else {}
            if new:
                self._last[own] = max(int(points[-1][0]) for points in new.values())
                found.append(("metrics", {"stage": own, "metrics": new}))
            if own in samples:
                found.append(("samples", {"stage": own, "samples": samples[own]}))
            if self._stages.get(own) != stage:
                self._stages[own] = stage
                found.append(("stage", stage))
        return found

    def _new_samples(self, stages: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return all samples of the stages that have new ones."""
        if not self._is_changed(self._run.path / watching.FILE):
            return {}
        rows = watching.samples_of(self._run.path)
        by_stage = {stage: [row for row in rows if row["stage"] == stage] for stage in stages}
        new = {stage: of for stage, of in by_stage.items() if len(of) != self._num_samples.get(stage, 0)}
        self._num_samples |= {stage: len(of) for stage, of in new.items()}
        return new

    def _is_changed(self, file: Path) -> bool:
        """Whether a file exists and was written to since the last call."""
        if not file.exists():
            return False
        written = file.stat().st_mtime_ns
        is_changed = self._written.get(file) != written
        self._written[file] = written
        return is_changed

"""The gauge of a finished or running stage of reinforcement, read from its log and the models that it kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jielong.errors import ConfigError
from jielong.report.gauge import FittedLaw, GaugeFigures, GaugePoint
from jielong.runs import Run, read_metrics
from jielong.train.checkpoints import KEPT
from jielong.train.gauge import GOLD, Reading, StopRule, kept_at, readings_of
from jielong.train.laws import FORMS, Estimate, Law, fit

CURVE = 60
"""Points of a drawn curve."""


def reinforced(run: Run) -> list[str]:
    """Return the stages of a run whose logs hold rollouts, in their order."""
    return [name for name in run.record["stages"] if readings_of(_metrics(run, name))]


def _metrics(run: Run, stage: str) -> list[dict[str, Any]]:
    path = run.stage_path(stage) / "metrics.jsonl"
    return read_metrics(path) if path.exists() else []


def gauge_of(run: Run, stage: str | None = None, rule: StopRule = StopRule()) -> GaugeFigures:  # noqa: B008 - frozen
    """Read the gauge of a stage, without one of the last that has rollouts. Raises ConfigError if there is none."""
    known = reinforced(run)
    if stage is None and known:
        stage = known[-1]
    if stage not in known:
        with_rollouts = f"stages with rollouts: {', '.join(known)}" if known else "no stage has rollouts"
        what = f"stage {stage!r} of {run.path} has no rollouts" if stage else f"{run.path} was not reinforced"
        raise ConfigError(f"{what}; {with_rollouts}")
    readings = readings_of(_metrics(run, stage))
    notes = []
    if _gold_is_trained(run.record["stages"][stage]):
        readings = [Reading(r.step, r.kl, r.learned, None, r.signals) for r in readings]
        notes.append("gauge gold trained")
    found = rule.stop(readings)
    if not any(r.signals.get("fresh_pairs") for r in readings):
        notes.append("gauge unlabelled")
    if run.record["stages"][stage].get("done") is None:
        notes.append("gauge unfinished")
    models = dict(kept_models(run, stage))
    # the policy that wrote the last rollout has learned from it since: where nothing stops it, the newest model is kept
    step = kept_at(models, readings[found.keep].step) if found.reason else max(models, default=None)
    return GaugeFigures(
        stage,
        [GaugePoint(r.step, r.kl, r.learned, r.gold, r.signals) for r in readings],
        list(_laws(readings)),
        found.at if found.reason else None,
        found.keep,
        found.reason,
        rule.value(readings, found),
        rule.limit(found.reason),
        None if step is None else str(models[step]),
        step,
        notes,
    )


def kept_models(run: Run, stage: str) -> Iterator[tuple[int, Path]]:
    """Yield the step and folder of every model of a stage, from the one that it starts with to the last."""
    entry = run.record["stages"][stage]
    start = run.models().get(entry.get("config", {}).get("inputs", {}).get("start", ""))
    if start is not None:
        yield 0, start
    for folder in ("steps", KEPT):
        for path in sorted((run.stage_path(stage) / folder).glob("[0-9]*/model")):
            yield int(path.parent.name), path


def _gold_is_trained(entry: Mapping[str, Any]) -> bool:
    """Whether the reward that is named gold has a weight, and so is no gold."""
    rewards: Sequence[Mapping[str, Any]] = entry.get("config", {}).get("source", {}).get("rewards", ())
    return any(f"score_{reward.get('name')}" == GOLD and reward.get("weight", 1.0) for reward in rewards)


def _laws(readings: Sequence[Reading]) -> Iterator[FittedLaw]:
    """Fit both laws to the learned reward, and to gold where there is one."""
    for name in ("learned", "gold"):
        known = [(r.kl, value) for r in readings if (value := r.learned if name == "learned" else r.gold) is not None]
        for form in FORMS:
            law = fit([kl for kl, _ in known], [value for _, value in known], form) if known else None
            if law is not None:
                yield _fitted(name, law, max(kl for kl, _ in known))


def _fitted(name: str, law: Law, most: float) -> FittedLaw:
    """Return a law with its curve up to the greatest KL."""
    curve = [(float(d * d), law.at(float(d * d))) for d in np.linspace(0.0, math.sqrt(max(most, 0.0)), CURVE)]
    return FittedLaw(
        name, law.form, _triple(law.alpha), _triple(law.beta), _triple(law.peak_kl), law.error, tuple(curve)
    )


def _triple(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high

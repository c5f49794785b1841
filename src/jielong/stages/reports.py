"""Remaking the report of a finished run from its kept files: new words for it need no training."""

from __future__ import annotations

import dataclasses
from typing import Any

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.outside import Fields
from jielong.report.report import ReportData, read_report
from jielong.runs import Run, read_json, read_metrics
from jielong.stages.cards import Answers, choose_cards
from jielong.stages.gauges import gauge_of, reinforced
from jielong.stages.lessons import exam_items


def report_of(run: Run) -> ReportData:
    """Build the data of a run's report, its curves too, and cards chosen anew from the answers that were kept."""
    record, path = run.record, run.path / "report.json"
    if not path.exists():
        made = [n for s in record["stages"].values() for n in s.get("summary", {}).get("shown", ())]
        raise ConfigError(
            f"{run.path} has no report.json; a report is what the exam of quickstart writes"
            + (f", and this run came to {', '.join(made)}" if made else "")
        )
    trained = [s for s in record["stages"] if (run.stage_path(s) / "metrics.jsonl").exists()]
    data = dataclasses.replace(
        read_report(path),
        curves={s: read_metrics(run.stage_path(s) / "metrics.jsonl") for s in trained},
        gauges={s: gauge_of(run, s) for s in reinforced(run)},
    )
    exam = exam_of(record)
    if exam is None or not (run.stage_path(exam["name"]) / "answers.json").exists():
        return data
    parts = exam_items(record["seed"], exam["limit"])
    samples, chosen = choose_cards(parts, kept_answers(run, exam["name"]), record["seed"], exam["num_samples"])
    return dataclasses.replace(data, samples=samples, chosen=chosen)


def exam_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the config of the stage that held the exam of the embedded world, if the run has one that is finished."""
    configs = [s["config"] for s in record["stages"].values() if "done" in s and "config" in s]
    return next((config for config in configs if config.get("kind") == "EvaluateStage"), None)


def kept_answers(run: Run, stage: str) -> Answers:
    """Return what each model answered in the exam; CheckpointError where the file is damaged."""
    path = run.stage_path(stage) / "answers.json"
    try:
        models = Fields(read_json(path), "it")
        return {m: {part: models.inner(m).texts(part) for part in models.inner(m).data} for m in models.data}
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({error}); run the evaluate stage again") from None

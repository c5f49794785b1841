"""The comparison of two runs, gathered from their files: settings, losses, speed, measures, answers.

Only files of the run are read. Measures carry an interval if single answers were kept: those of the exam of the
embedded world are scored again, item by item.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jielong.config import leaves
from jielong.evaluate.statistics import Interval, paired_bootstrap, wilson
from jielong.outside import Fields, is_number
from jielong.report.comparison import Comparison, Difference, StageFigures
from jielong.report.words import ENGLISH
from jielong.runs import Run, canonical_json, read_json, read_metrics
from jielong.stages.cards import NOT_COMPARED, Parts
from jielong.stages.exam import gold_values, hits
from jielong.stages.lessons import exam_items
from jielong.stages.reports import exam_of, kept_answers

NO_SETTINGS = ("name", "version", "facts", "digest")
"""Fields of a stage that nobody sets."""
_GROUPS = {"base": "pretrain"}
"""What the exam calls a stage, and what the stage is called."""
_OF_THE_RUN = ("recipe", "size", "seed")
DRAWS = 2000
NUM_ANSWERS = 5
OTHER_TEXTS = "The held-out texts of the two differ: losses and bits per byte say something of the texts as well as of the models."


@dataclass(frozen=True)
class Account:
    """The gathered data of one run. `items` are scores of single questions, by group and measure, in the order of
    `exam`.
    """

    name: str
    settings: Mapping[str, str]
    stages: Mapping[str, StageFigures]
    peak_memory_bytes: int
    measures: Mapping[str, Mapping[str, float]]
    items: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    exam: tuple[str, ...] = ()
    """The questions, by which two exams are known to be the same."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Question -> what the last stage said."""
    answers_of: str = ""
    held_out: str = ""
    """The SHA-256 of the texts that no model has read, by which two are known to be the same."""


def account_of(run: Run) -> Account:
    """Gather the data of a run. Raises CheckpointError for a damaged file."""
    record = run.record
    stages = record["stages"]
    settings = {name: str(record[name]) for name in _OF_THE_RUN if name in record}
    for name, entry in stages.items():
        of_stage = leaves(entry.get("config", {}))
        settings |= {f"{name}.{path}": _shown(value) for path, value in of_stage if path not in NO_SETTINGS}
    figures = {name: _figures(run.stage_path(name), entry) for name, entry in stages.items()}
    measures: dict[str, dict[str, float]] = {}
    for file in ("report.json", "exam.json", "samples.json", "compare.json"):
        if (run.path / file).exists():
            measures |= _measures(read_json(run.path / file))
    sums = [entry.get("files", {}).get("held_out.jsonl", {}).get("sha256", "") for entry in stages.values()]
    held_out = next(filter(None, sums), "")  # the first are texts, and chats come after them
    memory = int(record.get("peak_memory_bytes", 0))
    found = Account(str(run.path), settings, figures, memory, measures, held_out=held_out)
    exam = exam_of(record)
    if exam and (run.stage_path(exam["name"]) / "answers.json").exists():
        return _with_exam(found, run, exam)
    answers, answers_of = _read_texts(run.path)
    return replace(found, answers=answers, answers_of=answers_of)


def _with_exam(found: Account, run: Run, exam: Mapping[str, Any]) -> Account:
    """Add the exam's measures and scores of single answers to an account."""
    parts = exam_items(run.record["seed"], exam["limit"])
    answers = kept_answers(run, exam["name"])
    last = [role for role in answers if role not in NOT_COMPARED][-1]
    questions = [_question(item) for items in parts.values() for item in items]
    return replace(
        found,
        items={_GROUPS.get(role, role): _items(parts, said, is_bare=role == "base") for role, said in answers.items()},
        exam=tuple(questions),
        answers=dict(zip(questions, (text for part in parts for text in answers[last][part]), strict=True)),
        answers_of=last,
    )


def _items(parts: Parts, said: Mapping[str, Sequence[str]], *, is_bare: bool) -> dict[str, Sequence[float]]:
    """Return the scores of single questions behind each measure."""
    return {
        **{key: [float(hit) for hit in found] for key, found in hits(parts, said, is_bare=is_bare).items()},
        "gold_score": gold_values(parts, said),
    }


def _question(item: Any) -> str:
    return "\n".join(m.text for m in item.messages)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _figures(folder: Path, entry: Mapping[str, Any]) -> StageFigures:
    """Return the costs of a stage, and of a training stage the losses at the checkpoint that it ended with."""
    lines = read_metrics(folder / "metrics.jsonl")
    seconds = float(entry.get("seconds", 0.0))
    if not lines:
        return StageFigures(seconds)
    checkpoint = entry.get("summary", {}).get("checkpoint", "")
    kept = [line for line in lines if not checkpoint.isdigit() or line["step"] <= int(checkpoint)] or lines

    def last(key: str) -> float | None:
        return next((float(line[key]) for line in reversed(kept) if key in line), None)

    speeds = [float(line["tokens_per_s"]) for line in lines if "tokens_per_s" in line]
    return StageFigures(seconds, last("loss"), last("held_out_loss"), statistics.median(speeds) if speeds else None)


def _measures(data: Any) -> dict[str, dict[str, float]]:
    """Return group -> measure -> value from a file of results, whichever recipe wrote it."""
    results: dict[str, Any] = data if isinstance(data, dict) else {}
    groups: dict[str, Any] = results.get("stages") or results.get("measures") or results
    return {
        _GROUPS.get(name, name): {key: float(value) for key, value in found.items() if is_number(value)}
        for name, found in groups.items()
        if isinstance(found, dict)
    }


def _read_texts(path: Path) -> tuple[dict[str, str], str]:
    """Read the texts that the last model of a run wrote for questions or openings, and the model's name."""
    for file in ("compare.json", "samples.json"):
        if (path / file).exists():
            data = Fields(read_json(path / file), file)
            texts = data.inner("texts")
            last = list(texts.data)[-1]
            asked = (
                data.texts("openings", []) if last == "pretrain" else data.texts("asked", None) or _read_questions(path)
            )
            return dict(zip(asked, texts.texts(last), strict=False)), last
    return {}, ""


def _read_questions(path: Path) -> list[str]:
    """Read the questions in samples.txt, a line each after "> ": samples.json of older runs has none."""
    lines = (path / "samples.txt").read_text(encoding="utf-8").splitlines() if (path / "samples.txt").exists() else []
    return [line[2:] for line in lines if line.startswith("> ")]


# Two of them -----------------------------------------------------------------------------------------------------


def compare_accounts(a: Account, b: Account) -> Comparison:
    """Compare two runs; of different recipes, only their common parts."""
    fields = list(dict.fromkeys([*a.settings, *b.settings]))
    different = [
        (f, a.settings.get(f, ""), b.settings.get(f, "")) for f in fields if a.settings.get(f) != b.settings.get(f)
    ]
    stages = list(dict.fromkeys([*a.stages, *b.stages]))
    measures, how_sure = _differences(a, b)
    both = [q for q in a.answers if q in b.answers]
    changed = [q for q in both if a.answers[q].strip() != b.answers[q].strip()]
    chosen = changed[:: max(1, len(changed) // NUM_ANSWERS)][:NUM_ANSWERS]
    return Comparison(
        (a.name, b.name),
        _without_lost_stages(different, a, b),
        len(fields),
        [(name, a.stages.get(name), b.stages.get(name)) for name in stages],
        (a.peak_memory_bytes, b.peak_memory_bytes),
        measures,
        how_sure + ("" if a.held_out == b.held_out else f" {OTHER_TEXTS}"),
        [(q, a.answers[q].strip(), b.answers[q].strip()) for q in chosen],
        _about_answers(a, b, len(both), len(changed)),
    )


def _about_answers(a: Account, b: Account, num_both: int, num_changed: int) -> str:
    """Say on how many questions the last models of both answer differently, as far as answers were kept."""
    if not num_both:
        return "No answers side by side: the two have kept none to the same question."
    names = [ENGLISH.stage(one.answers_of) for one in (a, b)]
    whose = names[0] if names[0] == names[1] else f"A {names[0]}, B {names[1]}"
    return (
        f"{whose}: answers differ on {num_changed:,} of {num_both:,} questions in common{':' if num_changed else '.'}"
    )


def _without_lost_stages(
    different: Sequence[tuple[str, str, str]], a: Account, b: Account
) -> list[tuple[str, str, str]]:
    """Replace the fields of a stage that only one run has by one line."""
    lines: dict[str, tuple[str, str, str]] = {}
    for name, in_a, in_b in different:
        stage, dot, _ = name.partition(".")
        if dot and (stage in a.stages) != (stage in b.stages):
            there = ["there" if stage in one.stages else "" for one in (a, b)]
            lines[f"stage {stage}"] = (f"stage {stage}", there[0], there[1])
        else:
            lines[name] = (name, in_a, in_b)
    return list(lines.values())


def _differences(a: Account, b: Account) -> tuple[list[Difference], str]:
    """Return every common measure, with the interval of its difference if both kept single answers; and a note on the
    method.
    """
    is_same_exam = bool(a.exam) and a.exam == b.exam
    found, has_intervals = [], False
    for group in (g for g in a.measures if g in b.measures):
        for key in (k for k in a.measures[group] if k in b.measures[group]):
            low = high = None
            in_a, in_b = (one.items[group].get(key) if group in one.items else None for one in (a, b))
            if in_a and in_b:
                low, high = _interval(in_a, in_b, is_paired=is_same_exam)
                has_intervals = True
            found.append(Difference(group, key, a.measures[group][key], b.measures[group][key], low, high))
    if not has_intervals:
        return found, "No intervals: the answers to single questions were not kept by both."
    exams = (
        "by the bootstrap over the same questions, pair by pair"
        if is_same_exam
        else "of two exams whose questions differ, by the bootstrap, and of shares by Wilson's bounds"
    )
    return found, f"Intervals {exams}; * marks those without 0. Differences of shares in percentage points."


def _interval(old: Sequence[float], new: Sequence[float], *, is_paired: bool) -> tuple[float, float]:
    """Return 95% bounds of the mean of `new` minus that of `old`, by resampling questions (Efron 1979).

    Scores that are all 0 or 1 and unpaired get Wilson's bounds instead: resampling a share of 0 gives only 0.
    """
    if is_paired:
        found = paired_bootstrap(new, old, draws=DRAWS)
        return found.low, found.high
    if all(score in (0.0, 1.0) for score in (*old, *new)):
        return _interval_of_shares(wilson(int(sum(old)), len(old)), wilson(int(sum(new)), len(new)))
    dice = np.random.default_rng(0)
    means = []
    for scores in (new, old):
        values = np.asarray(scores)
        means.append(values[dice.integers(0, len(values), size=(DRAWS, len(values)))].mean(1))
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)


def _interval_of_shares(old: Interval, new: Interval) -> tuple[float, float]:
    """Return bounds of the difference of two independent shares (Newcombe 1998, method 10), true for shares of 0 and 1
    as well.
    """
    change = new.mean - old.mean
    return (
        change - math.hypot(new.mean - new.low, old.high - old.mean),
        change + math.hypot(new.high - new.mean, old.mean - old.low),
    )

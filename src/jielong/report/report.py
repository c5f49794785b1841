"""The data of a report, and its table on the terminal: measures by stage, sample answers, curves.

`ReportData` holds plain numbers and texts, gathered by the recipe. From it come report.json (`report_json`), a table
for the terminal (`print_table`) and report.html (`html.write_report`). Nothing is computed here that is not in the
data: a missing figure is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, is_number, shorten_value
from jielong.report.gauge import GaugeFigures
from jielong.report.measures import MEASURES, Measure, measure_of
from jielong.report.words import ENGLISH, Words
from jielong.runs import read_json


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows.

    - `stages`: stage -> measure -> value, in the order of the road.
    - `controls`: name -> measures, or one number that stands for the accuracy on unseen countries.
    - `samples`: {"question", "reference" (may be absent), "answers": {stage: {"text", "score"}}, and where they were chosen
      "kind" and "change" ("better", "worse" or "same", with "old" and "new")}; a score above 0 is right, below 0 wrong, 0 an
      honest "I don't know", None unjudged.
    - `chosen`: how the samples were: "questions", "agree" and "pairs" (a list of "old", "new", "better" and "worse").
    - `curves`: training stage -> lines of its metrics.jsonl; read are "step", "loss", "held_out_loss", "score", "kl".
    - `gauges`: stage of reinforcement -> its gauge; it is not kept in report.json.
    - `refine`: the counts of refining, "num_pages", "num_texts", "num_documents" and "dropped" (reason -> count).
    - `facts`: "recipe" (the title), "seconds", "peak_memory_bytes", "seconds_by_stage" (stage -> seconds), "gains" (pair
      -> mean, low, high, excludes_zero of the gold score), and anything else worth a line, nested mappings included.
    """

    stages: Mapping[str, Mapping[str, float]]
    controls: dict[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    refine: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    gauges: Mapping[str, GaugeFigures] = field(default_factory=dict)

    def title(self, words: Words = ENGLISH) -> str:
        name, comma, seed = str(self.facts.get("recipe", "report")).partition(", seed ")
        return words("title", name=name, seed=seed) if comma else name


def report_json(data: ReportData) -> dict[str, Any]:
    """Return the report's figures as plain JSON data; numbers that are not finite become null."""
    facts = {k: v for k, v in data.facts.items() if k not in ("seconds", "peak_memory_bytes")}
    return _finite(
        {
            "stages": data.stages,
            "controls": data.controls,
            "seconds": data.facts.get("seconds"),
            "peak_memory_bytes": data.facts.get("peak_memory_bytes"),
            "facts": facts,
            "refine": data.refine,
            "samples": data.samples,
            "chosen": data.chosen,
            "warnings": data.warnings,
        }
    )


def read_report(path: Path) -> ReportData:
    """Read the data of a report.json (the curves are not in it); CheckpointError when it is missing or damaged."""
    try:
        found = Fields(read_json(path), "it")
        totals = {
            key: value for key in ("seconds", "peak_memory_bytes") if (value := found.number(key, None)) is not None
        }
        stages = found.inner("stages")
        controls = found.inner("controls")
        return ReportData(
            {name: _figures(stages.inner(name)) for name in stages.data},
            {
                n: _figures(controls.inner(n)) if isinstance(v, dict) else v
                for n, v in controls.data.items()
                if _is_control(v)
            },
            [sample.data for sample in found.inners("samples")],
            refine=found.inner("refine").data,
            facts={**found.inner("facts").data, **totals},
            warnings=found.texts("warnings"),
            chosen=found.inner("chosen", {}).data,
        )
    except DataError as error:
        raise CheckpointError(
            f"{path} is not a report of this version ({error}); run the evaluate stage again"
        ) from None


def _figures(measures: Fields) -> dict[str, float]:
    """Return the measures that have a value."""
    return {name: value for name in measures.data if (value := measures.number(name, None)) is not None}


def _is_control(value: Any) -> bool:
    if not isinstance(value, dict) and not is_number(value):
        raise DataError(f"a control is {shorten_value(value)}; expected a number, or measures")
    return True


def print_table(data: ReportData, console: Console, words: Words = ENGLISH) -> None:
    """Print the table of stages and measures, then the warnings, on the terminal."""
    table = Table(
        title=f"Jielong · {data.title(words)}", title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    table.add_column(words("measure"), no_wrap=True, vertical="bottom")
    for name in data.stages:
        table.add_column(words.column(name), justify="right")
    for name in data.controls:
        table.add_column(words.column(name), justify="right", style="dim")
    for measure in rows(data):
        best = best_stages(data, measure)
        cells = []
        for stage in data.stages:
            text = measure.show(data.stages[stage].get(measure.key))
            cells.append(f"[bold green]{text}[/]" if stage in best else text)
        cells += [measure.show(control(data, name, measure.key)) for name in data.controls]
        table.add_row(measure.name(words), *cells)
    console.print(table)
    for warning in data.warnings:
        console.print(
            f"[yellow]{words('note')}{words('colon')}[/]{words.warning(warning)}", markup=True, highlight=False
        )


def rows(data: ReportData) -> list[Measure]:
    """Return the known measures that anyone has a figure for, then those that only the data know."""
    columns = [*data.stages.values(), *(c for c in data.controls.values() if isinstance(c, Mapping))]
    present = {key for column in columns for key in column}
    known = [m.key for m in MEASURES if m.key in present]
    return [measure_of(key) for key in (*known, *sorted(present - set(known)))]


def control(data: ReportData, name: str, key: str) -> float | None:
    """Return a control's figure for a measure; one number stands for the accuracy on unseen countries."""
    found = data.controls[name]
    if isinstance(found, Mapping):
        return found.get(key)
    return found if key.startswith("unseen_accuracy") else None


def best_stages(data: ReportData, measure: Measure) -> set[str]:
    """Return the stages that share the best value; none where all have the same, or no direction is better."""
    values = {s: v[measure.key] for s, v in data.stages.items() if math.isfinite(v.get(measure.key, math.nan))}
    if not measure.better or len(set(values.values())) < 2:
        return set()
    top = max(measure.better * v for v in values.values())
    return {s for s, v in values.items() if measure.better * v == top}


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, at any depth."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

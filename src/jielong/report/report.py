"""What a run came to: one table, the same questions put to every stage, and the curves.

`ReportData` holds plain numbers and texts, gathered by the recipe. From it come report.json (`report_json`), a table for
the terminal (`print_table`) and report.html (`write_report`): one file that needs no network and no script, in light or
dark as the reader's screen is. Nothing is computed here that is not in the data: a missing figure is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, is_number, shown
from jielong.report.measures import CONTROL_MEANINGS, CONTROL_NAMES, MEASURES, Measure
from jielong.report.page import STYLE
from jielong.report.plots import Series, number, plot, running_mean
from jielong.runs import read_json, write_text


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows.

    - `stages`: stage -> measure -> value, in the order of the road.
    - `controls`: name -> measures, or one number that stands for the accuracy on unseen countries.
    - `samples`: {"question", "reference" (may be absent), "answers": {stage: {"text", "score"}}}; a score above 0 is
      right, below 0 wrong, 0 an honest "I don't know", None unjudged.
    - `curves`: training stage -> lines of its metrics.jsonl; read are "step", "loss", "held_out_loss", "score", "kl".
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

    @property
    def title(self) -> str:
        return str(self.facts.get("recipe", "report"))


def report_json(data: ReportData) -> dict[str, Any]:
    """The figures of the report as plain JSON data; numbers that are not finite become null."""
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
            "warnings": data.warnings,
        }
    )


def read_report(path: Path) -> ReportData:
    """The data of a report.json (the curves are not in it); CheckpointError when it is missing or damaged."""
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
        )
    except DataError as error:
        raise CheckpointError(
            f"{path} is not a report of this version ({error}); run the evaluate stage again"
        ) from None


def _figures(measures: Fields) -> dict[str, float]:
    """The measures that have a value."""
    return {name: value for name in measures.data if (value := measures.number(name, None)) is not None}


def _is_control(value: Any) -> bool:
    if not isinstance(value, dict) and not is_number(value):
        raise DataError(f"a control is {shown(value)}; expected a number, or measures")
    return True


def print_table(data: ReportData, console: Console) -> None:
    """The table of stages and measures, then the warnings, on the terminal."""
    table = Table(title=f"Jielong · {data.title}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("measure")
    for name in data.stages:
        table.add_column(name, justify="right")
    for name in data.controls:
        table.add_column(CONTROL_NAMES.get(name, name), justify="right", style="dim")
    for measure in _rows(data):
        best = _best(data, measure)
        cells = []
        for stage in data.stages:
            text = measure.show(data.stages[stage].get(measure.key))
            cells.append(f"[bold green]{text}[/]" if stage in best else text)
        cells += [measure.show(_control(data, name, measure.key)) for name in data.controls]
        table.add_row(measure.name, *cells)
    console.print(table)
    for warning in data.warnings:
        console.print(f"[yellow]note:[/] {warning}", markup=True, highlight=False)


def write_report(path: Path, data: ReportData) -> None:
    """Write the HTML report to `path`, in one go. ResourceError when the disk is full or the folder forbidden."""
    sections = [
        _header(data),
        _section("Results", _table(data) + _gains(data) + _legend(data)),
        _section("The same questions, stage by stage", _samples(data)),
        _section("Training", _plots(data)),
        _section("From pages to text", _refine(data)),
        _section("The run", _facts(data)),
    ]
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Jielong · {escape(data.title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(s for s in sections if s)
        + "\n</main>\n</body>\n</html>\n",
    )


# The table -------------------------------------------------------------------------------------------------------


def _rows(data: ReportData) -> list[Measure]:
    """The known measures that anyone has a figure for, then those that only the data know."""
    columns = [*data.stages.values(), *(c for c in data.controls.values() if isinstance(c, Mapping))]
    present = {key for column in columns for key in column}
    known = [m for m in MEASURES if m.key in present]
    others = sorted(present - {m.key for m in MEASURES})
    return known + [Measure(key, key.replace("_", " "), 0, "", is_share=False) for key in others]


def _control(data: ReportData, name: str, key: str) -> float | None:
    control = data.controls[name]
    if isinstance(control, Mapping):
        return control.get(key)
    return control if key.startswith("unseen_accuracy") else None


def _best(data: ReportData, measure: Measure) -> set[str]:
    """The stages that share the best value; nobody where one value stands alone or no way is better."""
    values = {s: v[measure.key] for s, v in data.stages.items() if math.isfinite(v.get(measure.key, math.nan))}
    if not measure.better or len(values) < 2:
        return set()
    top = max(measure.better * v for v in values.values())
    return {s for s, v in values.items() if measure.better * v == top}


def _table(data: ReportData) -> str:
    head = "".join(f'<th scope="col">{escape(s)}</th>' for s in data.stages)
    head += "".join(f'<th scope="col" class="control">{escape(CONTROL_NAMES.get(c, c))}</th>' for c in data.controls)
    lines = []
    for measure in _rows(data):
        best = _best(data, measure)
        way = {1: "↑", -1: "↓", 0: ""}[measure.better]
        cells = ""
        for stage, values in data.stages.items():
            mark = ' class="best"' if stage in best else ""
            cells += f"<td{mark}>{measure.show(values.get(measure.key))}</td>"
        for control in data.controls:
            cells += f'<td class="control">{measure.show(_control(data, control, measure.key))}</td>'
        lines.append(f'<tr><th scope="row">{escape(measure.name)} <span class="way">{way}</span></th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="results"><thead><tr><th scope="col">measure</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _legend(data: ReportData) -> str:
    terms = [(m.name, m.meaning) for m in _rows(data) if m.meaning]
    terms += [(f"Control: {CONTROL_NAMES[c]}", CONTROL_MEANINGS[c]) for c in data.controls if c in CONTROL_NAMES]
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in terms)
    return (
        '<p class="muted">↑ more is better, ↓ less is better; the best stage of a row is marked. '
        f"Controls show what can be had without learning the facts.</p><dl>{items}</dl>"
    )


def _gains(data: ReportData) -> str:
    """One line for each stage that was compared with the one before."""
    lines = []
    for pair, gain in data.facts.get("gains", {}).items():
        verdict = "a difference that chance does not explain" if gain["excludes_zero"] else "chance could explain this"
        span = f"{gain['mean']:+.3f}, 95% interval {gain['low']:+.3f} to {gain['high']:+.3f}"
        lines.append(f"<li><b>{escape(pair)}</b>: {span}; {verdict}.</li>")
    if not lines:
        return ""
    return f'<p class="muted gains">Gold score, paired over the questions:</p><ul class="gains">{"".join(lines)}</ul>'


# The rest of the page --------------------------------------------------------------------------------------------


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _header(data: ReportData) -> str:
    last = list(data.stages)[-1] if data.stages else ""
    values = data.stages.get(last, {})
    tiles = []
    for measure in MEASURES:
        if measure.key in ("unseen_accuracy_en", "unseen_accuracy_zh", "invention_rate", "gold_score"):
            if measure.key in values:
                tiles.append((measure.show(values[measure.key]), f"{measure.name}, after {last}"))
    if "seconds" in data.facts:
        tiles.append((duration(data.facts["seconds"]), "from pages to report"))
    if "peak_memory_bytes" in data.facts:
        tiles.append((size(data.facts["peak_memory_bytes"]), "most memory in use at once"))
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in tiles)
    notes = "".join(f"<li>{escape(w)}</li>" for w in data.warnings)
    warnings = f"<aside><h2>Worth knowing</h2><ul>{notes}</ul></aside>" if notes else ""
    return (
        f'<header><p class="brand">Jielong 接龙</p><h1>{escape(data.title)}</h1></header>'
        f'<div class="tiles">{cards}</div>{warnings}'
    )


def _samples(data: ReportData) -> str:
    blocks = []
    for sample in data.samples:
        cells = []
        for stage, answer in sample["answers"].items():
            kind, sign, said = _verdict(answer.get("score"))
            mark = f'<span class="mark" title="{said}" aria-label="{said}">{sign}</span>' if sign else ""
            text = escape(answer["text"].strip()) or '<span class="muted">(nothing)</span>'
            cells.append(
                f'<div class="answer {kind}"><h4>{escape(stage)}{mark}</h4><div class="text">{text}</div></div>'
            )
        reference = sample.get("reference")
        right = f'<span class="muted"> → {escape(reference)}</span>' if reference else ""
        question = f"<h3>{escape(sample['question'])}{right}</h3>"
        blocks.append(f'<article>{question}<div class="answers">{"".join(cells)}</div></article>')
    return "".join(blocks)


def _verdict(score: float | None) -> tuple[str, str, str]:
    if score is None:
        return "", "", ""
    if score > 0:
        return "right", "✓", "right"
    return ("wrong", "✗", "wrong") if score < 0 else ("neutral", "○", "neither right nor wrong")


def _plots(data: ReportData) -> str:
    figures = []
    for stage, lines in data.curves.items():
        held_out = _points(lines, "step", "held_out_loss")
        loss = [*_curve("train", _points(lines, "step", "loss"), 1), Series("held-out", held_out, colour=2)]
        figures.append(_figure(f"{stage}: loss", plot(loss, x_label="step", y_label="loss"), loss))
        rewards = _points(lines, "step", "score")
        if rewards:
            reward = _curve("reward", rewards, 3)
            figures.append(_figure(f"{stage}: reward", plot(reward, x_label="step", y_label="reward"), reward))
        path = [Series("KL, reward", _points(lines, "kl", "score"), "path", 3)]
        if path[0].points:
            drawn = plot(path, x_label="KL to the reference, nats per answer", y_label="reward")
            figures.append(_figure(f"{stage}: reward against KL", drawn, path))
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def _curve(name: str, points: Sequence[tuple[float, float]], colour: int) -> list[Series]:
    """The points as a line; many of them as a faint line with a running mean before it."""
    if len(points) <= 40:
        return [Series(name, points, colour=colour)]
    mean = running_mean(points, max(2, len(points) // 50))
    return [Series(name, points, "faint", colour), Series(name, mean, colour=colour)]


def _points(lines: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    return [(float(r[x]), float(r[y])) for r in lines if r.get(x) is not None and r.get(y) is not None]


def _figure(title: str, drawn: str, series: Sequence[Series]) -> str:
    marks = {s.mark for s in series}
    note = "thin: every logged step; thick: running mean" if "faint" in marks else "every logged step"
    if "path" in marks:
        note = "a dot for every logged step; later ones stronger"
    return f"<figure><figcaption><b>{escape(title)}</b><span>{note}</span></figcaption>{drawn}</figure>"


def _refine(data: ReportData) -> str:
    if not data.refine:
        return ""
    texts = data.refine["num_texts"]
    dropped = sorted(data.refine["dropped"].items(), key=lambda pair: -pair[1])
    rows = [("kept", data.refine["num_documents"], "good"), *((reason, count, "") for reason, count in dropped)]
    bars = "".join(_bar(name, count / max(texts, 1), f"{count:,}", kind) for name, count, kind in rows)
    text = f"{data.refine['num_pages']:,} pages gave {texts:,} texts. What was kept, and why the rest was dropped:"
    return f'<p class="muted">{text}</p><div class="bars">{bars}</div>'


def _bar(name: str, share: float, text: str, kind: str = "") -> str:
    return (
        f'<span class="name">{escape(name.replace("_", " "))}</span><span class="rail">'
        f'<i class="{kind}" style="width:{100 * min(1.0, share):.2f}%"></i></span>'
        f'<span class="count">{text} <em>{100 * share:.1f}%</em></span>'
    )


def _facts(data: ReportData) -> str:
    seconds = data.facts.get("seconds_by_stage", {})
    total = max(sum(seconds.values()), 1e-9)
    bars = "".join(_bar(stage, s / total, duration(s)) for stage, s in seconds.items())
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in _flat(data.facts))
    return (f'<div class="bars">{bars}</div>' if bars else "") + (
        f'<table class="facts">{rows}</table>' if rows else ""
    )


def _flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in facts.items():
        name = f"{above}{key}".replace("_", " ")
        if key in ("recipe", "seconds_by_stage", "gains"):
            continue
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}: ")
        elif key.endswith("seconds"):
            rows.append((name.removesuffix(" seconds").replace("seconds", "time"), duration(value)))
        elif key.endswith("_bytes"):
            rows.append((name.removesuffix(" bytes"), size(value)))
        elif isinstance(value, float):
            rows.append((name, number(value)))
        elif value is None or isinstance(value, bool):
            rows.append((name, {None: "none", True: "yes", False: "no"}[value]))
        else:
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)))
    return rows


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; below a minute with one decimal, from an hour on without the seconds."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes in the decimal unit that fits: 2.1 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Two runs side by side, as tables for a terminal of 80 columns; `Comparison` holds plain figures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from jielong.report.measures import measure_of
from jielong.report.words import ENGLISH, duration, size

MISSING = "–"


@dataclass(frozen=True)
class StageFigures:
    """The figures of a training stage; None for a missing one. Seconds are of the whole stage."""

    seconds: float
    loss: float | None = None
    held_out_loss: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Difference:
    """A measure of both runs; `low` and `high` bound b - a with 95% confidence, where single answers were kept."""

    group: str
    """The stage, or another part of the results, that was measured."""
    key: str
    a: float
    b: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs, with common parts and differences; "a" and "b" are the runs in the order they were given."""

    names: tuple[str, str]
    settings: Sequence[tuple[str, str, str]]
    """Field, and its value in a and in b, of those that differ; "" where a run has no such field."""
    num_settings: int
    stages: Sequence[tuple[str, StageFigures | None, StageFigures | None]]
    peak_memory_bytes: tuple[int, int]
    measures: Sequence[Difference]
    how_sure: str
    """How the intervals were taken, or why there are none."""
    answers: Sequence[tuple[str, str, str]]
    """A question, and the answers of a and b."""
    about_answers: str


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison for programs, with "a" and "b" where there is something of each run."""

    def both(a: Any, b: Any) -> dict[str, Any]:
        return {"a": a, "b": b}

    return {
        "runs": both(*found.names),
        "num_settings": found.num_settings,
        "settings": [{"field": field, **both(a, b)} for field, a, b in found.settings],
        "stages": [{"stage": name, **both(*(c and asdict(c) for c in costs))} for name, *costs in found.stages],
        "peak_memory_bytes": both(*found.peak_memory_bytes),
        "measures": [asdict(measure) for measure in found.measures],
        "how_sure": found.how_sure,
        "answers": [{"question": question, **both(a, b)} for question, a, b in found.answers],
        "about_answers": found.about_answers,
    }


def print_comparison(found: Comparison, console: Console) -> None:
    """Print all tables of a comparison."""
    for letter, name in zip("AB", found.names, strict=True):
        _say(console, f"{letter}  {name}")
    _say(console, f"\n{len(found.settings):,} of {found.num_settings:,} settings differ")
    if found.settings:
        _print_settings(found, console)
    if found.stages:
        _print_stages(found, console)
    if found.measures:
        _print_measures(found, console)
    _print_answers(found, console)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)


def _table(*columns: str, left: int = 1) -> Table:
    """Make a table with these columns, the first `left` of them to the left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return table


def _print_settings(found: Comparison, console: Console) -> None:
    """Print the settings that differ."""
    table = _table("setting", "A", "B", left=3)
    for row in found.settings:
        table.add_row(*(cell or MISSING for cell in row))
    console.print(table, markup=False, highlight=False)


def _print_stages(found: Comparison, console: Console) -> None:
    """Print losses, time and speed of every stage that both or either have."""
    _say(console, "\nLoss at the end of training, in nats a token (of the reward model, a pair of answers)")
    table = _table("stage", "training A", "B", "held out A", "B")
    for name, a, b in found.stages:
        cells = [
            number
            for figure in ("loss", "held_out_loss")
            for number in (_number(getattr(one, figure, None)) for one in (a, b))
        ]
        if any(cell != MISSING for cell in cells):
            table.add_row(ENGLISH.stage(name), *cells)
    console.print(table)
    _say(console, "\nTime of each stage, and tokens a second while training")
    table = _table("stage", "time A", "B", "tokens/s A", "B")
    for name, a, b in found.stages:
        times = [duration(one.seconds) if one else MISSING for one in (a, b)]
        speeds = [f"{one.tokens_per_s:,.0f}" if one and one.tokens_per_s else MISSING for one in (a, b)]
        table.add_row(ENGLISH.stage(name), *times, *speeds)
    columns = ([a for _, a, _ in found.stages], [b for _, _, b in found.stages])
    table.add_row("all", *(duration(sum(one.seconds for one in column if one)) for column in columns), "", "")
    console.print(table)
    memory = [size(count) if count else MISSING for count in found.peak_memory_bytes]
    _say(console, f"\nMost memory in use at once: A {memory[0]}, B {memory[1]}")


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _print_measures(found: Comparison, console: Console) -> None:
    """Print a table for each part of the results: figures with their units, and the interval of the difference."""
    for group in dict.fromkeys(one.group for one in found.measures):
        table = _table(ENGLISH.stage(group), "A", "B", "B - A", "95% interval")
        for one in (one for one in found.measures if one.group == group):
            measure = measure_of(one.key)
            interval = MISSING
            if one.low is not None and one.high is not None:
                mark = " *" if one.low > 0 or one.high < 0 else "  "
                interval = f"{measure.change(one.low)} to {measure.change(one.high)}{mark}"
            table.add_row(
                measure.name(), measure.show(one.a), measure.show(one.b), measure.change(one.b - one.a), interval
            )
        console.print()
        console.print(table)
    _say(console, found.how_sure)


def _print_answers(found: Comparison, console: Console) -> None:
    _say(console, f"\n{found.about_answers}")
    for question, a, b in found.answers:
        _say(console, f"\n> {question}\n  A: {a or ENGLISH('nothing')}\n  B: {b or ENGLISH('nothing')}")

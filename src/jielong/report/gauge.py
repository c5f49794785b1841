"""The gauge of a stage of reinforcement: its figures, a drawing for a terminal of 80 columns, a page, and plain JSON data.

`GaugeFigures` holds plain numbers and texts, so that nothing is computed here. Learned and gold reward have scales of their
own and are drawn apart, over the same square root of the KL.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from jielong.report.page import STYLE
from jielong.report.plots import Series, number, plot, ticks
from jielong.report.words import ENGLISH, Words
from jielong.runs import write_text

WIDTH, HEIGHT, EDGE = 66, 9, 9
"""Columns and lines of a drawing on the terminal, and the columns of its numbers at the left."""
PICTURES = ("learned", "gold")


@dataclass(frozen=True)
class GaugePoint:
    """A rollout: the policy after `step` steps. Gold is None where the log has none."""

    step: int
    kl: float
    learned: float
    gold: float | None
    signals: Mapping[str, float] = field(default_factory=dict)

    def reward(self, name: str) -> float | None:
        return self.learned if name == "learned" else self.gold


@dataclass(frozen=True)
class FittedLaw:
    """A fitted law: of "learned" or "gold", its form, each number with its bounds, and its curve over the KL."""

    reward: str
    form: str
    alpha: tuple[float, float, float]
    beta: tuple[float, float, float]
    peak_kl: tuple[float, float, float]
    error: float
    curve: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class GaugeFigures:
    """Everything that the gauge of a stage shows.

    `stop` and `keep` are places in `points`; `stop` is None where the rule does not stop. `reason` names the measure that
    made it stop, `value` what it was and `limit` what it may be. `checkpoint` is the model to keep, made after
    `checkpoint_step` steps, None where none was kept. `notes` are keys of words.
    """

    stage: str
    points: Sequence[GaugePoint]
    laws: Sequence[FittedLaw]
    stop: int | None
    keep: int
    reason: str
    value: float
    limit: float
    checkpoint: str | None
    checkpoint_step: int | None
    notes: Sequence[str] = ()

    @property
    def has_gold(self) -> bool:
        return any(p.gold is not None for p in self.points)

    def law(self, reward: str) -> FittedLaw | None:
        """Return the law that fits a reward better, which is the one that is drawn; None where none was fitted."""
        return min((law for law in self.laws if law.reward == reward), key=lambda law: law.error, default=None)

    @property
    def best_gold(self) -> int | None:
        """Return the place of the highest gold, None where there is none."""
        known = [(p.gold, -i) for i, p in enumerate(self.points) if p.gold is not None]
        return -max(known)[1] if known else None


def gauge_json(figures: GaugeFigures) -> dict[str, Any]:
    """Return the figures for programs, without the points of drawn curves."""
    found = dataclasses.asdict(figures)
    for law in found["laws"]:
        del law["curve"]
    return found


# Sentences ---------------------------------------------------------------------------------------------------------


def verdict(figures: GaugeFigures, words: Words = ENGLISH) -> list[str]:
    """Return what the gauge says, a sentence a line."""
    keep = figures.points[figures.keep]
    if figures.stop is None:
        lines = [words("gauge goes on", step=keep.step, kl=keep.kl)]
    else:
        why = words(f"gauge.{figures.reason}", value=figures.value, limit=figures.limit)
        stop = figures.points[figures.stop]
        lines = [words("gauge stops", step=stop.step, kl=stop.kl, why=why)]
    if figures.checkpoint is None:
        lines.append(words("gauge keeps none", step=keep.step))
    else:
        lines.append(words("gauge keeps", step=figures.checkpoint_step, path=figures.checkpoint))
    best = figures.best_gold
    if best is not None and keep.gold is not None:
        top = figures.points[best]
        lines.append(words("gauge gold", here=keep.gold, best=top.gold, step=top.step, kl=top.kl))
    return [*lines, *(words(note) for note in figures.notes)]


def law_lines(figures: GaugeFigures, words: Words = ENGLISH) -> list[str]:
    """Return the fitted laws with their 95% intervals."""
    lines = []
    for law in figures.laws:
        name = words(f"gauge.{law.reward}")
        lines.append(f"{name}  {words(f'gauge.{law.form}')}")
        cells = [f"{key} {_estimate(values)}" for key, values in (("alpha", law.alpha), ("beta", law.beta))]
        lines += [f"  {'  '.join(cells)}", f"  {words('gauge peak')} {_estimate(law.peak_kl)}"]
    return lines


def _estimate(values: tuple[float, float, float]) -> str:
    value, low, high = map(_short, values)
    return f"{value} ({low} .. {high})"


def _short(value: float) -> str:
    """Format a fitted number: nothing is known of a peak a thousand nats away, nor of a millionth."""
    return ">1,000" if value > 1000 else "0" if abs(value) < 1e-6 else number(value)


# The terminal ------------------------------------------------------------------------------------------------------


def print_gauge(figures: GaugeFigures, words: Words = ENGLISH) -> None:
    """Print drawings, laws and verdict in 80 columns."""
    for name in PICTURES if figures.has_gold else PICTURES[:1]:
        print("\n".join(draw(figures, name, words)))
        print()
    print("\n".join(law_lines(figures, words)))
    for line in verdict(figures, words):
        print("\n" + "\n".join(textwrap.wrap(line, 80, break_long_words=False, break_on_hyphens=False)))


def draw(figures: GaugeFigures, name: str, words: Words = ENGLISH) -> list[str]:
    """Draw a reward against the square root of the KL in lines of 80 columns.

    Rollouts are circles, the fitted law is a line of dots, the place to stop a bar.
    """
    dots = [(math.sqrt(max(p.kl, 0.0)), reward) for p in figures.points if (reward := p.reward(name)) is not None]
    law = figures.law(name)
    curve = law.curve if law else ()
    lows, highs = min(y for _, y in dots), max(y for _, y in dots)
    right = max(x for x, _ in dots) or 1.0
    span = (highs - lows) or 1.0
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def put(x: float, y: float, sign: str) -> None:
        column, line = round(x / right * (WIDTH - 1)), round((highs - y) / span * (HEIGHT - 1))
        if 0 <= line < HEIGHT and 0 <= column < WIDTH:
            grid[line][column] = sign

    if figures.stop is not None:
        at = math.sqrt(max(figures.points[figures.stop].kl, 0.0))
        for line in range(HEIGHT):
            put(at, highs - line * span / (HEIGHT - 1), "│")
    for kl, y in curve:
        put(math.sqrt(kl), y, "·")
    for x, y in dots:
        put(x, y, "o")
    labels = {0: number(highs), HEIGHT - 1: number(lows)}
    lines = [f"{words(f'gauge.{name}')}"]
    lines += [f"{labels.get(i, ''):>{EDGE}} ┤{''.join(row)}".rstrip() for i, row in enumerate(grid)]
    return [*lines, f"{'':>{EDGE}} └{'─' * WIDTH}", _axis(right), f"{'':>{EDGE + 2}}{words('gauge x')}"]


def _axis(right: float) -> str:
    """Return the numbers below a drawing, each under its place."""
    line = [" "] * (EDGE + 2 + WIDTH + 3)
    for value in ticks(0.0, right, 6):
        text = number(value)
        start = EDGE + 2 + round(value / right * (WIDTH - 1)) - len(text) // 2
        line[start : start + len(text)] = text
    return "".join(line).rstrip()


# The page ----------------------------------------------------------------------------------------------------------


def pictures(figures: GaugeFigures, words: Words = ENGLISH) -> list[tuple[str, str]]:
    """Return the title and SVG of each drawing."""
    found = []
    for name in PICTURES if figures.has_gold else PICTURES[:1]:
        dots = [(math.sqrt(max(p.kl, 0.0)), reward) for p in figures.points if (reward := p.reward(name)) is not None]
        colour = 1 + PICTURES.index(name)
        series = [Series(words(f"gauge.{name}"), dots, "path", colour)]
        law = figures.law(name)
        if law is not None:
            series.append(Series(words("gauge law"), [(math.sqrt(kl), y) for kl, y in law.curve], colour=4))
        if figures.stop is not None:
            at = math.sqrt(max(figures.points[figures.stop].kl, 0.0))
            ys = [y for _, y in dots]
            series.append(Series(words("gauge stop"), [(at, min(ys)), (at, max(ys))], colour=3))
        label = words("over", y=words(f"gauge.{name}"), x=words("gauge x"))
        found.append((words(f"gauge.{name}"), plot(series, x_label=words("gauge x"), y_label="", label=label)))
    return found


def gauge_figures(figures: GaugeFigures, words: Words = ENGLISH) -> str:
    """Render the drawings as figures of a page, and the verdict below them."""
    drawn = "".join(
        f"<figure><figcaption><b>{escape(words.stage(figures.stage))}: {escape(title)}</b></figcaption>{svg}</figure>"
        for title, svg in pictures(figures, words)
    )
    told = "".join(f"<p>{escape(line)}</p>" for line in verdict(figures, words))
    return f'<div class="plots">{drawn}</div>{told}'


def write_gauge(path: Path, title: str, figures: GaugeFigures, words: Words = ENGLISH) -> None:
    """Write the gauge as a page of its own, which fetches nothing."""
    laws = escape("\n".join(law_lines(figures, words)))
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Jielong · {escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1></header>\n<section><h2>{escape(words('gauge'))}</h2>"
        f"{gauge_figures(figures, words)}<pre>{laws}</pre></section>\n</main>\n</body>\n</html>\n",
    )

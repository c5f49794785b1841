"""Small line and point plots as inline SVG, drawn from plain numbers.

A plot is a string that can be put into a page as it is: no script, no file beside it, no fonts. Colours are classes
(`c1` to `c4`), which the page defines for light and dark; hovering over a point shows its numbers by the browser's own
means. The one idea: data go to a fixed box of 560 x 300 units, and the page stretches the box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 44


@dataclass(frozen=True)
class Series:
    """Points that belong together. `mark`: "line", "faint" (a thin line behind others) or "path" (dots on a thread)."""

    name: str
    points: Sequence[Point]
    mark: str = "line"
    colour: int = 1


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, about `count` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Format a number as short as it can be read: 1200 -> 1,200, 0.0312 -> 0.031, 2.0 -> 2."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def running_mean(points: Sequence[Point], reach: int) -> list[Point]:
    """Return each point's mean over itself and up to `reach` neighbours on each side, fewer (but as many on each) at
    the ends.
    """
    means = []
    for i, (x, _) in enumerate(points):
        n = min(reach, i, len(points) - 1 - i)
        window = [y for _, y in points[i - n : i + n + 1]]
        means.append((x, sum(window) / len(window)))
    return means


def plot(series: Sequence[Series], *, x_label: str, y_label: str, label: str = "") -> str:
    """Draw one SVG element with axes, a legend and all series; points that are not finite are left out, and "" where
    none is left.

    `label` is for screen readers.
    """
    finite = [
        Series(s.name, [(x, y) for x, y in s.points if math.isfinite(x) and math.isfinite(y)], s.mark, s.colour)
        for s in series
    ]
    drawn = [s for s in finite if s.points]
    if not drawn:
        return ""
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    x_low, x_high = _span(xs)
    y_low, y_high = _span(ys, margin=0.06)

    def at(point: Point) -> tuple[str, str]:
        x = LEFT + (point[0] - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f}", f"{y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label or y_label)}">']
    for value in ticks(y_low, y_high):
        _, y = at((x_low, value))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{number(value)}</text>')
    for value in ticks(x_low, x_high, 6):
        x, _ = at((value, y_low))
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/>')
        parts.append(
            f'<text class="tick" x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(value)}</text>'
        )
    base = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    parts.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    parts += [_draw(s, [at(p) for p in s.points]) for s in drawn]
    parts.append(_legend(drawn, y_label))
    return "".join(parts) + "</svg>"


def _span(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    """Return the range of an axis, with a margin."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = abs(low) * 0.05 or 1.0
        return low - pad, high + pad
    pad = (high - low) * margin
    return low - pad, high + pad


def _draw(series: Series, places: Sequence[tuple[str, str]]) -> str:
    """Draw one series at its positions in the box."""
    thread = " ".join(f"{x},{y}" for x, y in places)
    line = f'<polyline class="{series.mark} c{series.colour}" points="{thread}"/>'
    if series.mark == "faint" or (series.mark == "line" and len(places) > 40):
        return line
    dots = []
    for i, ((x, y), (x_value, y_value)) in enumerate(zip(places, series.points, strict=True)):
        # on a thread, later dots are darker: that shows the direction of time
        shade = f' fill-opacity="{0.25 + 0.75 * (i + 1) / len(places):.2f}"' if series.mark == "path" else ""
        title = f"<title>{escape(series.name)}: {number(x_value)}, {number(y_value)}</title>"
        dots.append(f'<circle class="dot c{series.colour}" cx="{x}" cy="{y}" r="3"{shade}>{title}</circle>')
    return line + "".join(dots)


def _legend(series: Sequence[Series], y_label: str) -> str:
    """Render the y label at the left, and the colours' names at the right where there is more than one."""
    parts = [f'<text class="label" x="4" y="16">{escape(y_label)}</text>']
    x = float(WIDTH - RIGHT)
    named = [s for s in series if s.mark != "faint"]
    if len(named) > 1:
        for s in reversed(named):
            x -= sum(12 if ord(c) > 0x2E80 else 6.6 for c in s.name)
            parts.append(f'<text class="label" x="{x:.0f}" y="16">{escape(s.name)}</text>')
            x -= 22
            parts.append(f'<line class="line c{s.colour}" x1="{x:.0f}" x2="{x + 16:.0f}" y1="12" y2="12"/>')
            x -= 14
    return "".join(parts)

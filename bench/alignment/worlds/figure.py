"""Draw docs/images/gauge.svg from a finished run of the enumerable world: `python -m bench.alignment.worlds.figure FOLDER`."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from bench.environments import ROOT
from jielong.report.plots import Series, plot
from jielong.runs import read_metrics, write_text
from jielong.train.gauge import Reading, StopRule, readings_of

STYLE = """<style>
svg { background: #faf9f6; font: 12px system-ui, sans-serif; } text { fill: #6a6f78; }
.grid { stroke: #e5e2db; } .axis { stroke: #6a6f78; } polyline { fill: none; stroke: currentColor; stroke-width: 2; }
.path { stroke-width: 1; opacity: .5; } .dot { fill: currentColor; } line.line { stroke: currentColor; stroke-width: 2; }
.c1 { color: #3b6ea5; } .c2 { color: #c8692b; } .c3 { color: #2e7d5b; }
</style>"""


def svg(readings: list[Reading]) -> str:
    """Return learned and gold reward over the square root of the KL, each in its unit at the start, and the place to stop."""
    at = [math.sqrt(max(r.kl, 0.0)) for r in readings]
    learned = [(x, r.learned - readings[0].learned) for x, r in zip(at, readings, strict=True)]
    gold = [(x, r.gold) for x, r in zip(at, readings, strict=True) if r.gold is not None]
    lows, highs = min(y for _, y in learned + gold), max(y for _, y in learned + gold)
    stop = at[StopRule().stop(readings).keep]
    series = [
        Series("learned reward", learned, "path", 1),
        Series("gold", gold, "path", 2),
        Series("kept", [(stop, lows), (stop, highs)], "line", 3),
    ]
    drawn = plot(series, x_label="square root of the KL to the start, nats", y_label="reward", label="the gauge")
    return re.sub("(<svg[^>]*)>", rf'\1 xmlns="http://www.w3.org/2000/svg">{STYLE}', drawn, count=1)


if __name__ == "__main__":
    write_text(
        ROOT / "docs" / "images" / "gauge.svg", svg(readings_of(read_metrics(Path(sys.argv[1]) / "metrics.jsonl")))
    )

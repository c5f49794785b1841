"""The one table of all experiments: what was wanted, what was measured, how sure that is, what it cost, and yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.strategies.line import Beside, Line, Wanted, mean, pooled, verdict
from bench.strategies.setting import Result, shown
from jielong.evaluate.statistics import holm

COLUMNS = (
    "experiment",
    "what",
    "wanted",
    "measured (95%)",
    "of",
    "beside it (up, down)",
    "p",
    "equal tokens",
    "p",
    "calls",
    "tokens",
    "seconds",
    "",
)
LEGEND = (
    "A line without a verdict is there to be compared to. Beside it: the score of what it is compared to on the same "
    "questions, and how many questions went up and down. Equal tokens: the same for the baseline that cost as many tokens. "
    "Differences count below p = .05: exact McNemar, or flipped signs where scores are not yes or no, corrected by Holm over "
    "all tests of the experiment; questions of several seeds are put together. Calls, tokens (read and written) and seconds "
    "are those of one question."
)


@dataclass(frozen=True)
class Judged:
    """A line with its corrected p, against what it is compared to and against equal tokens, where there are such."""

    experiment: str
    line: Line
    p_against: float | None = None
    p_equal: float | None = None

    @property
    def verdict(self) -> str:
        return verdict(self.line, [p for p in (self.p_against, self.p_equal) if p is not None])


def judged(results: Sequence[Result]) -> list[Judged]:
    """All lines in order, those of the same experiment and name pooled over the seeds, with Holm within each experiment."""
    found: list[Judged] = []
    for experiment in dict.fromkeys(result.experiment for result in results):
        by_name: dict[str, list[Line]] = {}
        for result in (r for r in results if r.experiment == experiment):
            for line in result.lines:
                by_name.setdefault(line.name, []).append(line)
        lines = [pooled(same) for same in by_name.values()]
        tests = [(n, side) for n, line in enumerate(lines) for side in ("against", "equal") if getattr(line, side)]
        ps = holm([lines[n].p(getattr(lines[n], side)) for n, side in tests])
        corrected = dict(zip(tests, ps, strict=True))
        found += [
            Judged(experiment, line, corrected.get((n, "against")), corrected.get((n, "equal")))
            for n, line in enumerate(lines)
        ]
    return found


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    rows += [f"| {' | '.join(_cells(one))} |" for one in judged(results)]
    return "\n".join(rows)


def _cells(one: Judged) -> list[str]:
    line, cost = one.line, one.line.cost
    bounds = f"{shown(line.interval.low, line.unit)} to {shown(line.interval.high, line.unit)}"
    costs = [f"{cost.calls:.1f}", f"{cost.tokens:,.0f}", f"{cost.seconds:.2f}"] if cost else [""] * 3
    return [
        one.experiment,
        line.name,
        _wanted(line.wanted, line.unit),
        f"{shown(line.mean, line.unit)} ({bounds})",
        str(len(line.scores)),
        *_beside(line, line.against, one.p_against),
        *_beside(line, line.equal, one.p_equal),
        *costs,
        one.verdict,
    ]


def _wanted(wanted: Wanted | None, unit: str) -> str:
    if wanted is None:
        return ""
    if wanted.what in ("more", "less"):
        return wanted.what
    if wanted.what == "times":
        return f"{wanted.value:g} times"
    return f"{wanted.what} {shown(wanted.value, unit)}"


def _beside(line: Line, side: Beside | None, p: float | None) -> list[str]:
    if side is None or p is None:
        return ["", ""]
    up, down = line.changed(side)
    return [f"{side.name} {shown(mean(side.scores), line.unit)} (+{up}, -{down})", f"{p:.2g}"]

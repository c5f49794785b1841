"""The live display of a running recipe.

On a terminal a live panel lists all stages, done, running and waiting, with the running one's step, loss, tokens a
second and time left. Elsewhere (a pipe, a log file) the same comes as plain lines, at most one every ten seconds and
one for the start and the end of each stage. `Display` only shows: the recipe calls `stage`, `update` and `message`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jielong.report import consoles
from jielong.report.words import duration
from jielong.runs import now_s

_SIGNS = {"done": ("✓", "green"), "running": ("▸", "bold cyan"), "waiting": ("·", "dim"), "stopped": ("■", "yellow")}


@dataclass
class _Row:
    """One stage as the panel shows it."""

    state: str = "waiting"
    began_s: float = 0.0
    took_s: float | None = None
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens_per_s: float | None = None
    seconds_left: float | None = None
    note: str = ""
    mfu: float = 0.0


class Display:
    """Progress of the named stages; use it as a context manager around the run.

    Leaving it normally ends the running stage as done, leaving it by an exception (Ctrl-C included) as stopped. `every_s`
    is the least time between two plain lines of one stage; `clock` gives seconds.
    """

    def __init__(
        self,
        stages: Sequence[str],
        *,
        title: str = "",
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = now_s,
    ) -> None:
        self.console = console or consoles.console()
        self.title, self.every_s, self.clock = title, every_s, clock
        self.is_live = self.console.is_terminal
        self._rows = {name: _Row() for name in stages}
        self._current: str | None = None
        self._said_s = -math.inf
        self._began_s = clock()
        self._live = (
            Live(
                console=self.console,
                get_renderable=lambda: consoles.CleanRenderable(self.panel()),
                refresh_per_second=4,
            )
            if self.is_live
            else None
        )

    def __enter__(self) -> Display:
        self._began_s = self.clock()
        if self._live:
            self._live.start()
        elif self.title:
            self._say(f"{self.title}: {', '.join(self._rows)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("stopped" if kind else "done")
        if self._live:
            self._live.stop()

    def stage(self, name: str) -> None:
        """Begin the stage `name`, and end the one before it as done."""
        self._end("done")
        self._rows.setdefault(name, _Row())
        self._rows[name] = _Row("running", began_s=self.clock())
        self._current, self._said_s = name, -math.inf
        self._say(f"{name}: begins")

    def skip(self, name: str, note: str = "done before") -> None:
        """Show `name` as done before."""
        self._end("done")
        self._rows[name] = _Row("done", note=note)
        self._say(f"{name}: {note}")

    def end(self, name: str, note: str) -> None:
        """End `name`, one of many alike: its row goes, and a line with the note stays."""
        if self._current == name:
            self._current = None
        self._rows.pop(name, None)
        self.message(f"{name}: {note}")

    def update(
        self,
        step: int,
        steps: int = 0,
        loss: float | None = None,
        tokens_per_s: float | None = None,
        seconds_left: float | None = None,
        note: str = "",
        mfu: float = 0.0,
    ) -> None:
        """Show the progress of the running stage. `steps` is 0 if the end is not known; a rate, time or utilisation of
        0 is not shown.
        """
        assert self._current is not None, "stage() comes before update()"
        row = self._rows[self._current]
        row.step, row.steps, row.loss, row.note = step, steps, loss, note
        row.tokens_per_s, row.seconds_left, row.mfu = tokens_per_s, seconds_left, mfu
        if not self.is_live and self.clock() - self._said_s >= self.every_s:
            self._said_s = self.clock()
            self._say(f"{self._current}: {', '.join(self._figures(row))}")

    def message(self, text: str) -> None:
        """Print a line that stays, above the panel."""
        self.console.print(text, markup=False, highlight=False)

    # Showing -------------------------------------------------------------------------------------------------------

    def _end(self, state: str) -> None:
        """End the present stage in a state, with its time and last loss."""
        if self._current is None:
            return
        row = self._rows[self._current]
        row.state, row.took_s = state, self.clock() - row.began_s
        verb = "done in" if state == "done" else "stopped after"
        last = f", loss {row.loss:.4f}" if row.loss is not None else ""
        self._say(f"{self._current}: {verb} {duration(row.took_s)}{last}")
        self._current = None

    def _say(self, text: str) -> None:
        if not self.is_live:
            self.message(text)

    def _figures(self, row: _Row) -> list[str]:
        """Return the figures of a row as text."""
        figures = (
            [f"step {row.step:,} of {row.steps:,}" if row.steps else f"{row.step:,}"] if row.step or row.steps else []
        )
        if row.loss is not None:
            figures.append(f"loss {row.loss:.4f}")
        if row.tokens_per_s:
            figures.append(f"{row.tokens_per_s:,.0f} tokens/s")
        if row.mfu:
            figures.append(f"MFU {row.mfu:.0%}")
        if row.seconds_left:
            figures.append(f"{duration(row.seconds_left)} left")
        return [*figures, *filter(None, [row.note])]

    def panel(self) -> Panel:
        """Render all stages as they stand now."""
        is_narrow = self.console.width < 100
        table = Table.grid(padding=(0, 1 if is_narrow else 2))
        for column in ("sign", "name", "note", "step", "loss", "rate", "time"):
            # where room is short the note folds, and nothing else is cut
            left = column in ("sign", "name", "note")
            table.add_column(justify="left" if left else "right", no_wrap=column != "note")
        for name, row in self._rows.items():
            table.add_row(*self._cells(name, row, 8 if is_narrow else 24))
        elapsed = Text(f"{duration(self.clock() - self._began_s)} so far", style="dim")
        title = Text(f" {self.title} ", style="bold") if self.title else None
        return Panel(Group(table, Text(), elapsed), title=title, title_align="left", border_style="dim", padding=(1, 2))

    def _cells(self, name: str, row: _Row, bar_width: int) -> list[Text | ProgressBar]:
        """Return the cells of one row of the panel."""
        sign, style = _SIGNS[row.state]
        if row.state == "running":
            time = f"{duration(row.seconds_left)} left" if row.seconds_left else ""
        else:
            time = duration(row.took_s) if row.took_s is not None else ""
        step = f"{row.step:,} / {row.steps:,}" if row.steps else (f"{row.step:,}" if row.step else "")
        middle: Text | ProgressBar = Text(row.note, style="dim")
        if row.state == "running" and row.steps and not row.note:
            middle = ProgressBar(total=row.steps, completed=row.step, width=bar_width)
        return [
            Text(sign, style=style),
            Text(name, style=style if row.state != "done" else ""),
            middle,
            Text(step, style="dim"),
            Text(f"loss {row.loss:.3f}" if row.loss is not None else ""),
            Text(_format_speed(row), style="dim"),
            Text(time, style="" if row.state == "running" else "dim"),
        ]


def _format_speed(row: _Row) -> str:
    """Format tokens a second, and the FLOPs utilisation if it is known."""
    if not row.tokens_per_s:
        return ""
    return f"{row.tokens_per_s:,.0f} tok/s" + (f" {row.mfu:.0%}" if row.mfu else "")

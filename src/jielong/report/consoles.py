"""Consoles for tables, colours and panels, which clean all text that they print."""

from __future__ import annotations

import sys

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from jielong.report.terminal import beneath, has_colours, plain


class _PlainText(RenderHook):
    """A render hook that cleans all text that a console prints; colours and movements are rich's own."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [CleanRenderable(renderable) for renderable in renderables]


class CleanRenderable:
    """A renderable of rich with its text cleaned."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.renderable, options):
            yield Segment(text if control else plain(text), style, control)


def console(*, is_quiet: bool = False, highlight: bool = True) -> Console:
    """Make a console on standard output, for tables, colours and panels; colours only on a terminal, and not with NO_COLOR."""
    stream = beneath(sys.stdout)
    made = Console(
        file=stream,
        # said outright, as FORCE_COLOR would else make a terminal of a pipe
        force_terminal=stream.isatty(),
        color_system="auto" if has_colours(stream) else None,
        quiet=is_quiet,
        highlight=highlight,
    )
    made.push_render_hook(_PlainText())
    return made

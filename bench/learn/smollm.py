"""The circle once on a model of others, by a judge of rules: an answer that ends with a question, and is short."""

from __future__ import annotations

from collections.abc import Iterator

from bench.learn.circle import circle_in, rows_of
from bench.learn.judges import Asking
from bench.learn.setting import Setting
from bench.rows import Row

MINUTES = 15.0


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of one circle."""
    circle = circle_in(setting, setting.folder, Asking(), 0)
    yield from rows_of("ends with a question, short", [circle], (0,), MINUTES)

"""Three hidden preferences, three seeds each: length, the language of the answer, and "I don't know" for inventions."""

from __future__ import annotations

from collections.abc import Iterator

from bench.learn.circle import circles, rows_of
from bench.learn.judges import JUDGES
from bench.learn.setting import Setting
from bench.rows import Row

MINUTES = 3.0


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of each judge."""
    for name in setting.judges or JUDGES:
        yield from rows_of(name, list(circles(setting, name, JUDGES[name])), setting.seeds, MINUTES)

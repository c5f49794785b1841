"""The hostile pages and streams of `bench.faults`, those that cost little."""

from __future__ import annotations

from pathlib import Path

from bench.faults.slow import rows


def test_hostile_pages_end_in_time_and_the_others_are_read(tmp_path: Path) -> None:
    found = list(rows(0, short=True, folder=tmp_path))
    assert len(found) > 15
    assert [row for row in found if not row.ok] == []

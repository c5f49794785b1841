"""The hostile chat templates of `bench.faults`, a third of them."""

from __future__ import annotations

from pathlib import Path

from bench.faults.templates import rows


def test_hostile_templates_end_in_time_with_a_sentence(tmp_path: Path) -> None:
    found = list(rows(0, short=True, folder=tmp_path))
    assert len(found) == 5
    assert [row for row in found if not row.ok] == []

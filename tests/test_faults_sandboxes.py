"""The short form of the attacks on sandboxes, code tasks and frames: none gets through."""

from __future__ import annotations

from pathlib import Path

from bench.faults.sandboxes import rows


def test_no_attack_on_sandboxes_code_tasks_or_frames_gets_through(tmp_path: Path) -> None:
    found = list(rows(0, short=True, folder=tmp_path))
    assert not [row for row in found if not row.ok]
    assert len(found) >= 8

"""Damaged files of a finished run are named, made again by the same command, and the rest is kept."""

from __future__ import annotations

import pytest
from bench.faults import damage


@pytest.mark.smoke
def test_damaged_files_are_named_and_made_again(tmp_path):
    assert all(row.ok for row in damage.rows(1, short=True, folder=tmp_path))

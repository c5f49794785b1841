"""A killed command that is started again comes to the same as one that never was; test_quickstart kills a whole recipe."""

from __future__ import annotations

from bench.faults import kills


def test_a_killed_command_comes_to_the_same_when_it_is_started_again(tmp_path):
    assert all(row.ok for row in kills.rows(0, short=True, folder=tmp_path))

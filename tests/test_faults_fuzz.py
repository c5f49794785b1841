"""Damaged files before every reader: 200 each, none uncaught, none that hangs, none that takes more than 2 GB."""

from __future__ import annotations

import sys
from random import Random

import pytest
from bench.faults.fuzz import rows
from bench.faults.fuzz_mutations import mutate

pytest.importorskip("gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_no_damaged_file_costs_a_traceback_or_more_time_or_memory_than_there_is(tmp_path):
    assert [row for row in rows(0, short=True, folder=tmp_path) if not row.ok] == []


def test_a_damage_is_a_function_of_its_seed():
    body = b'{"a": [1, 2, {"b": "c"}], "d": null}'
    damaged = [[mutate(body, name, Random(f"{seed}")) for seed in range(50)] for name in ("x.json", "x.bin")]
    again = [[mutate(body, name, Random(f"{seed}")) for seed in range(50)] for name in ("x.json", "x.bin")]
    assert damaged == again and len(set(damaged[0])) > 30

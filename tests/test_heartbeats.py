"""A rank that is lost ends the others, which name it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from jielong.errors import JielongError
from jielong.train.parallel import ranks_from_environment
try:
    with ranks_from_environment(lost_after_s=6.0) as ranks:
        ranks.wait()
        Path(sys.argv[1], f"ready{ranks.rank}").touch()
        if sys.argv[2] == "fails" and ranks.rank == 1:
            raise JielongError("no room on the disk")
        if sys.argv[2] == "ends":
            sys.exit(0)
        while True:
            ranks.sum_numbers({"a": 1.0})
            time.sleep(0.05 + (sys.argv[2] == "late" and ranks.rank == 1) * 8)
            if sys.argv[2] == "late":
                break
except JielongError as error:
    print(f"jielong: {error}", file=sys.stderr)
    sys.exit(2)
"""


def two_ranks(folder: Path, what: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in (0, 1):
        env = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-c", SCRIPT, str(folder), what]
        started.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    end = time.monotonic() + 60
    while time.monotonic() < end and not all((folder / f"ready{rank}").exists() for rank in (0, 1)):
        time.sleep(0.05)
    return started


@pytest.mark.ranks
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_rank_ends_the_other_within_a_minute_and_is_named(tmp_path, how, lost):
    ranks = two_ranks(tmp_path, "works")
    try:
        ranks[lost].send_signal(how)
        began = time.monotonic()
        other = ranks[1 - lost]
        _, said = other.communicate(timeout=60)
        assert time.monotonic() - began < 30
        assert other.returncode == 2
        assert "the same command goes on" in said
        assert f"rank {lost} of 2" in said or (lost == 0 and "keeps the ranks together" in said), said
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@pytest.mark.ranks
def test_a_rank_that_ends_with_an_error_ends_the_other_with_its_words(tmp_path):
    ranks = two_ranks(tmp_path, "fails")
    said = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [2, 2]
    assert "no room on the disk" in said[1]
    assert "rank 1 of 2" in said[0], said[0]


@pytest.mark.ranks
@pytest.mark.parametrize("what", ["ends", "late"])
def test_ranks_that_end_well_or_take_long_end_nobody(tmp_path, what):
    ranks = two_ranks(tmp_path, what)
    said = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said

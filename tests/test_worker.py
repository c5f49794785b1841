"""A worker gives results or says which limit was met, and whatever is done to it the next call is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from jielong.errors import DataError, LimitError
from jielong.outside.worker import DIED, TOO_LONG, TOO_MUCH_MEMORY, Worker

MEMORY = 128 << 20
ECHO = Worker("tests.worker_calls:echo", limit_s=20, memory_bytes=MEMORY)
ODD = Worker("tests.worker_calls:misbehave", limit_s=0.5, memory_bytes=MEMORY)


def test_what_goes_in_comes_out_whatever_a_library_prints() -> None:
    values = ["", "é漢\ud800\n", 3, [1.5, None], {"a": True}]
    assert [ECHO.call(value) for value in values] == values
    assert list(ECHO.each([value] for value in values * 50)) == values * 50
    assert ECHO.call("x" * 3_000_000) == "x" * 3_000_000


@pytest.mark.parametrize(
    ("how", "reason"),
    [("loop", TOO_LONG), ("match", TOO_LONG), ("grow", TOO_MUCH_MEMORY), ("huge", TOO_MUCH_MEMORY), ("die", DIED)],
)
def test_a_call_beyond_its_limits_is_ended_and_the_others_are_answered(how: str, reason: str) -> None:
    calls = [["same"], ["same"], [how], ["same"]]
    first, second, failed, last = ODD.each(calls)
    assert isinstance(failed, LimitError) and failed.reason == reason
    assert first == second and isinstance(last, int) and last != first
    with pytest.raises(LimitError, match=f"^it {reason}"):
        ODD.call(how)
    assert ODD.call("same")


def test_a_call_is_not_blamed_for_what_an_earlier_one_left_behind() -> None:
    assert all(isinstance(found, int) for found in ODD.each([["leak"]] * 6))


def test_our_own_errors_come_back_as_they_were_raised_and_a_bug_with_its_traceback() -> None:
    with pytest.raises(DataError, match="it is no table"):
        ODD.call("refuse")
    with pytest.raises(LimitError) as caught:
        ODD.call("refuse as too large")
    assert caught.value.reason == "too large"
    with pytest.raises(RuntimeError, match="ZeroDivisionError: nothing"):
        ODD.call("nothing")
    with pytest.raises(RuntimeError, match="AttributeError"):
        Worker("tests.worker_calls:missing", limit_s=1, memory_bytes=MEMORY).call()


def test_a_process_is_kept_for_the_next_call_and_loads_nothing_heavy() -> None:
    worker = Worker("tests.worker_calls:misbehave", limit_s=5, memory_bytes=MEMORY)
    assert worker.call("same") == worker.call("same")
    assert worker.call("torch") is False


def test_threads_share_a_worker() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ECHO.call, range(200))) == list(range(200))


def test_who_stops_asking_leaves_nothing_half_done() -> None:
    def calls() -> Iterator[list[int]]:
        for number in range(1000):
            yield [number]

    found = ECHO.each(calls())
    assert next(found) == 0
    found.close()
    assert ECHO.call("next") == "next"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_parent_and_child_have_workers_of_their_own() -> None:
    here = ODD.call("same")
    child = os.fork()
    if not child:
        is_other = ODD.call("same") not in (here, None)
        os._exit(0 if is_other else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ODD.call("same") == here


_PROGRAM = """
import sys
from tests.worker_calls import misbehave
from jielong.outside.worker import Worker
worker = Worker("tests.worker_calls:misbehave", limit_s=float(sys.argv[1]), memory_bytes=1 << 28)
print(worker.call("same"), flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
else:
    worker.call(sys.argv[2])
"""


def _started(limit_s: float, how: str) -> tuple[subprocess.Popen[str], int]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _PROGRAM, str(limit_s), how]
    parent = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert parent.stdout
    return parent, int(parent.stdout.readline())


def _is_gone(pid: int, within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["wait", "match"])
def test_a_worker_ends_with_its_parent_however_that_dies(how: str) -> None:
    parent, worker = _started(0.5, how)
    parent.kill()
    parent.communicate()
    assert _is_gone(worker, 30)


def test_control_c_ends_a_call_at_once_and_says_nothing_of_the_worker() -> None:
    parent, worker = _started(600, "match")
    time.sleep(0.3)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=20)
    assert said.strip().endswith("KeyboardInterrupt") and "working.py" not in said
    assert _is_gone(worker, 10)

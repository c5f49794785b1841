"""The button: beginning an attempt, and starting, pausing, resuming and cancelling its child process.

The server and the command line both use these functions. Neither holds state: both read the attempt's files.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from jielong.errors import CheckpointError, ConfigError, DataError, NotFoundError, ResourceError
from jielong.learning import attempt as attempts
from jielong.learning import standing
from jielong.learning.advice import Plan, plan
from jielong.learning.attempt import Attempt
from jielong.learning.child import LOCK, LOG, PROCESS
from jielong.learning.judged import lineage_of, sort_judgements
from jielong.learning.reasons import Reason, to_json
from jielong.outside import Fields
from jielong.records import Judgement
from jielong.runs import read_json

_END_S = 30.0
"""A child that is told to end saves its step first; after half of this it is ended at once."""


def press(
    runs: Path, base: str, base_path: Path, judgements: Sequence[Judgement], *, method: str = "auto", seed: int = 0
) -> Path:
    """Begin an attempt and its child; return its folder. Raises NotEnough if the judgements are not enough,
    ResourceError for memory.
    """
    judged = sort_judgements(judgements)
    known = plan(judged, method)
    home = attempts.home_of(runs, base_path)
    memory_bytes = memory_of(base_path, known)
    figures = {
        "judgements": judged.counts(),
        "prompts": {side: len(getattr(known, side).prompts) for side in ("policy", "judge", "held_out")},
        "notes": [to_json(note) for note in known.notes],
    }
    begun = Attempt(
        attempts.new_id(home),
        base,
        str(base_path.resolve()),
        known.method,
        method,
        time.time(),
        against=standing.standing(home),
        memory_bytes=memory_bytes,
        figures=figures,
        lineage=lineage_of(judgements),
        seed=seed,
    )
    folder = attempts.begin(home, begun, judgements)
    start(folder)
    return folder


def memory_of(base_path: Path, known: Plan) -> int:
    """Estimate the bytes that training an adapter of the base takes, from its shape. Raises ResourceError if so many
    are not free.
    """
    from jielong.model import adapter_files, hf
    from jielong.model.adapters import AdapterConfig
    from jielong.train.machine import bf16_is_right
    from jielong.train.memory import check_memory, check_rollout_memory, memory_needed, memory_total, rollout_memory
    from jielong.train.sources import RowsConfig

    if adapter_files.is_adapter(base_path):
        raise ConfigError(f"{base_path} is an adapter; merge it first with: jielong export {base_path}")
    config, _ = hf.read_config(base_path)
    adapter = AdapterConfig(rank=16, alpha=32.0, base="compute")
    rows = RowsConfig(length=min(1024, config.max_position_embeddings), rows_per_step=16, micro_rows=2)
    item = 2 if bf16_is_right("cpu") else 4
    needed = memory_needed(config, adapter, rows, item)
    if "ppo" in known.steps:
        needed |= rollout_memory(config, adapter, rows, item)
        check_rollout_memory(base_path, needed)
    else:
        check_memory(base_path, config, known.steps[-1], rows, adapter)
    return round(memory_total(needed))


def start(folder: Path) -> None:
    """Start a child for the attempt, in a session of its own: it goes on when the server or the terminal ends."""
    try:
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jielong.learning.child", str(folder.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, daemon=True).start()  # a child that nobody waits for stays as a zombie
    except OSError as error:
        raise ResourceError(f"the training of {folder} cannot be started ({error.strerror})") from error


def is_at_work(folder: Path) -> bool:
    """Whether a child works on the attempt now; it holds a lock, which a kill frees."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def pause(folder: Path) -> Attempt:
    """End the child after its current step; its work is kept."""
    attempt = attempts.change(folder, only_in=attempts.AT_WORK, is_paused=True)
    end(folder)
    return attempt


def resume(folder: Path) -> Attempt:
    """Continue an attempt that was paused, or whose child was ended."""
    attempt = attempts.change(folder, only_in=attempts.AT_WORK, is_paused=False)
    if attempt.state in attempts.AT_WORK and not is_at_work(folder):
        start(folder)
    return attempt


def cancel(folder: Path) -> Attempt:
    """Give an attempt up. Its folder stays, with its votes."""
    reason = Reason("cancelled")
    attempt = attempts.change(folder, only_in=attempts.OPEN, state="cancelled", is_paused=False, reason=reason)
    end(folder)
    return attempt


def end(folder: Path) -> None:
    """End the child of an attempt, if it has one. Raises ResourceError if it does not end."""
    until_s = time.monotonic() + _END_S
    while is_at_work(folder):
        if time.monotonic() > until_s:
            raise ResourceError(
                f"the process at {folder} does not end; try again, or end it by hand ({folder / PROCESS})"
            )
        # one that has just begun has not said yet which process it is
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired, CheckpointError, DataError):
            known = Fields(read_json(folder / PROCESS), "a process")
            process = psutil.Process(known.whole("pid"))
            if process.create_time() == known.number("created"):
                _end(process)
        time.sleep(0.05)


def _end(process: psutil.Process) -> None:
    process.terminate()
    try:
        process.wait(_END_S / 2)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_END_S / 2)


def folder_of(home: Path, id: str) -> Path:
    """Return the folder of an attempt. Raises NotFoundError if there is none of that id."""
    found = next((folder for folder in attempts.attempts(home) if folder.name == id), None)
    if found is None:
        raise NotFoundError(f"there is no attempt {id!r:.60}")
    return found

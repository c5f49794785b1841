"""Heartbeats between ranks, so that a lost rank is noticed and named.

Each rank counts upwards in the store of the process group, once a second, from a thread of its own; each watches the
others' counts. A rank whose count stands still for too long (killed, stopped, out of reach), or that left with an
error, ends all others: they may hang in a sum that never comes, so they print one sentence and exit at once. Nothing is
lost by that, as files on disk are whole at any moment.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from jielong.errors import JielongError, ResourceError

BEAT_S, LOST_AFTER_S = 1.0, 45.0
GRACE_S = 3.0
"""After a rank has left with an error, the others have so long to end by themselves."""

_LEFT = "left"


class Heartbeats:
    """The heartbeat of one rank of `size`: a thread beats and watches the others, another checks that the store
    answers.
    """

    def __init__(self, rank: int, size: int, lost_after_s: float) -> None:
        self.rank, self.size, self.lost_after_s = rank, size, lost_after_s
        self._store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=lost_after_s),
        )
        self._ended = threading.Event()
        self._answered_s = time.monotonic()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        threading.Thread(target=self._see_answers, daemon=True).start()

    def leave(self, last: str) -> None:
        """Stop beating; `last` is the message to the others: that this rank has left, or the error it ended with.

        The first rank may keep the store, so after a good end it waits until the others have left, or are lost.
        """
        self._ended.set()
        self._thread.join(self.lost_after_s)
        try:
            self._store.set(f"beat/{self.rank}", last)
            if last == _LEFT and self.rank == 0:
                self._wait_for_others()
        except RuntimeError:  # whoever keeps the store has left before
            return

    def _wait_for_others(self) -> None:
        """Wait until all other ranks have left, or are lost."""
        told, changed_s = [""], time.monotonic()
        while any(not said or said.isdigit() for said in told) and time.monotonic() - changed_s < self.lost_after_s:
            before, told = told, [self._read(rank) for rank in range(1, self.size)]
            if told != before:
                changed_s = time.monotonic()
            time.sleep(BEAT_S / 10)

    def lost(self) -> str:
        """Watch for some beats and return which rank seems lost, in words; empty where all beat."""
        try:
            before = {rank: self._read(rank) for rank in range(self.size)}
            time.sleep(4 * BEAT_S)
            silent = [rank for rank in range(self.size) if rank != self.rank and self._read(rank) == before[rank]]
        except RuntimeError:
            return "the rank that keeps the ranks together"
        return ", ".join(f"rank {rank} of {self.size}" for rank in silent if before[rank] != _LEFT)

    def _read(self, rank: int) -> str:
        name = f"beat/{rank}"
        return str(self._store.get(name).decode()) if self._store.check([name]) else ""

    def _see_answers(self) -> None:
        """End this process when the store has not answered for too long: a stopped keeper gives no answer and no error."""
        while not self._ended.wait(BEAT_S):
            if time.monotonic() - self._answered_s > self.lost_after_s:
                self._end(f"the rank that keeps the ranks together gave no answer for {self.lost_after_s:.0f} s")

    def _beat(self) -> None:
        """Beat and watch the other ranks until ended; the body of the thread."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        seen = dict.fromkeys(others, ("", time.monotonic()))
        count = 0
        while not self._ended.wait(BEAT_S):
            count += 1
            try:
                self._store.set(f"beat/{self.rank}", str(count))
                found = {rank: self._read(rank) for rank in others}
                self._answered_s = time.monotonic()
            except RuntimeError:
                # the store lies with torchrun or with the first rank
                return self._end("the rank that keeps the ranks together cannot be reached")
            for rank, said in found.items():
                if said == _LEFT:
                    seen[rank] = (said, time.monotonic())
                elif said and not said.isdigit():
                    return self._end(f"rank {rank} of {self.size} ended: {said}", GRACE_S)
                elif said != seen[rank][0]:
                    seen[rank] = (said, time.monotonic())
                elif time.monotonic() - seen[rank][1] > self.lost_after_s:
                    return self._end(f"rank {rank} of {self.size} gave no sign of life for {self.lost_after_s:.0f} s")
        return None

    def _end(self, why: str, grace_s: float = 0.0) -> None:
        """End this process with a message, unless it ends by itself within the grace period."""
        if self._ended.wait(grace_s):
            return
        print(f"jielong: {why}; what was made is kept, and the same command goes on from there", file=sys.stderr)
        sys.stderr.flush()
        os._exit(2)  # the main thread may wait in a sum, where nothing else reaches it


_heartbeats: Heartbeats | None = None


@contextmanager
def keep_beating(rank: int, size: int, lost_after_s: float) -> Iterator[None]:
    """Beat as long as the context lives, and end this process where another rank is lost."""
    global _heartbeats
    _heartbeats = Heartbeats(rank, size, lost_after_s)
    last = "it was ended"
    try:
        yield
        last = _LEFT
    except JielongError as error:
        last = str(error)
        raise
    except Exception as error:
        last = f"{type(error).__name__}: {error}"
        raise
    finally:
        _heartbeats.leave(last)
        _heartbeats = None


@contextmanager
def name_lost_rank() -> Iterator[None]:
    """Turn the error of a collective operation that another rank left into a sentence that names the rank."""
    try:
        yield
    except RuntimeError as error:
        lost = _heartbeats.lost() if _heartbeats else ""
        if not lost:
            raise
        raise ResourceError(
            f"{lost} was lost; what was made is kept, and the same command goes on from there"
        ) from error

"""Time, memory and load of this process while something runs."""

from __future__ import annotations

import os
import threading
import time


class MemoryWatch:
    """Peak resident memory of this process and all its children, sampled twice a second in a daemon thread."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_memory, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample_memory(self) -> None:
        """Sample memory twice a second until stopped; the body of the thread."""
        import psutil

        me = psutil.Process()
        while True:
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)
            if self._stop.wait(0.5):
                return


def load_average() -> float | None:
    """Return the machine's load over the last minute, or None if the system does not tell it."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def now_s() -> float:
    """Seconds of a clock that never goes back."""
    return time.monotonic()

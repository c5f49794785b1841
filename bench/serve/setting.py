"""Where a part works, and on how much."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Setting:
    """The options of all parts; each takes those that it needs."""

    model: Path
    folder: Path
    """For what the part makes; gone afterwards."""
    peers: Path
    """Where the environments of others are kept."""
    rounds: int = 5
    tokens: int = 128
    seconds: float = 300.0
    num: int = 10_000
    kills: int = 50
    seed: int = 0

    @property
    def threads(self) -> int:
        """As many as the machine has cores, or OMP_NUM_THREADS."""
        return int(os.environ.get("OMP_NUM_THREADS") or psutil.cpu_count(logical=False) or 1)

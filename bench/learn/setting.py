"""Where a part works, and on how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """The options of all parts; each takes those that it needs."""

    model: Path
    folder: Path
    """For what the part makes; gone afterwards."""
    seeds: tuple[int, ...] = (0, 1, 2)
    judges: tuple[str, ...] = ()
    """Of hidden; none: all."""
    judgements: int = 200
    method: str = "auto"
    voters: int = 20
    """Random voters."""
    kills: int = 20

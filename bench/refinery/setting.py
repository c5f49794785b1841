"""The options that parts share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Where a part finds its pages and keeps what it makes; `peers` holds the environments of others."""

    folder: Path
    peers: Path
    wcxb: Path | None = None

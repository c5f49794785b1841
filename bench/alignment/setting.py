"""The options that parts share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Where a part finds its models and keeps what it makes.

    `run` is a finished run of the quickstart, for the parts on the atlas. `folder` holds what a part trains, so that a
    part which was ended goes on; `peers` holds the environments of other trainers. `data` holds files of real judgements,
    and `model` is a model of others.
    """

    folder: Path
    seeds: tuple[int, ...]
    run: Path | None = None
    peers: Path | None = None
    data: Path | None = None
    model: Path | None = None

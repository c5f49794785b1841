"""Checkpoints on disk: checksums of their files, and the choice of the newest intact one to resume from.

A checkpoint is a folder steps/NNNNNN: `model` in Hugging Face's layout, `training/state.pt` with all that resuming
needs, and `sums.json` with the size and SHA-256 of each file. Beside them may lie kept/NNNNNN, a `model` alone from along the
way, from which nothing is resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jielong.errors import CheckpointError
from jielong.outside import Fields
from jielong.runs import Sums, damage, read_json, sealed, sums_of, take_sums, unsealed, write_json

STATE, SUMS = "training/state.pt", "sums.json"
KEPT = "kept"
"""The folder of models from along the way."""


@dataclass(frozen=True)
class Saved:
    """The checkpoint to resume from, if there is one; unless it `is_whole`, files beside its state have to be written
    again.
    """

    path: Path | None
    is_whole: bool
    notes: list[str]
    """Sentences for a person about damaged ones."""


def seal(checkpoint: Path) -> None:
    """Write the checksums of a checkpoint's files beside them."""
    write_json(checkpoint / SUMS, sealed({"files": sums_of(checkpoint)}))


def newest(steps: Path) -> Saved:
    """Return the newest checkpoint in a folder of them whose state is intact.

    One that an earlier version saved has no checksums, and is believed.
    """
    damaged: list[str] = []
    for path in sorted(steps.glob("[0-9]*"), reverse=True):
        sums = _sums(path)
        wrong = {} if sums is None else damage(path, sums)
        if sums != {} and STATE not in wrong:
            then = f"training went on from step {int(path.name)}"
            return Saved(path, sums is not None and not wrong, [f"{what}; {then}" for what in damaged])
        why = f"{STATE} {wrong[STATE]}" if STATE in wrong else f"{SUMS} is damaged"
        damaged.append(f"the checkpoint {path} is damaged ({why})")
    return Saved(None, False, [f"{what}; training began anew" for what in damaged])


def _sums(checkpoint: Path) -> Sums | None:
    """Read the checksums of a checkpoint; empty where they are damaged, None where an earlier version wrote none."""
    if not (checkpoint / SUMS).exists():
        return None
    try:
        return take_sums(
            Fields(unsealed(read_json(checkpoint / SUMS)), str(checkpoint / SUMS), CheckpointError), "files"
        )
    except CheckpointError:
        return {}

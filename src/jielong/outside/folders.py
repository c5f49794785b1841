"""Files of a model's folder, which somebody else may have filled: its own regular files, and none beyond it.

A link that leads out of the folder would hand whatever it points to (a key, a device without end) to whoever opens the
model. Links of a hub's cache lead from snapshots/REVISION to blobs beside it, and are the folder's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError
from jielong.outside.files import check_file, read_json_file, read_text
from jielong.outside.parsing import kind_of


def own_file(path: Path) -> Path:
    """Return `path` itself. Raises CheckpointError unless it is a regular file of its folder, or of the blobs of a
    hub's cache.
    """
    try:
        check_file(path)
        real, folder = path.resolve(), path.parent.resolve()
    except (OSError, RuntimeError, DataError) as error:  # RuntimeError: links in a circle
        raise CheckpointError(str(error)) from None
    snapshots = next((parent for parent in (folder, *folder.parents) if parent.name == "snapshots"), None)
    allowed = (folder,) if snapshots is None else (folder, snapshots.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise CheckpointError(f"{path} is a link to {real}, out of its folder; copy the file into the folder")
    return path


def own_text(path: Path) -> str:
    """Read all of a file of a model's folder as text."""
    try:
        return read_text(own_file(path))
    except DataError as error:
        raise CheckpointError(f"{error}; restore a copy") from None


def own_object(path: Path) -> dict[str, Any]:
    """Parse the JSON object in a file of a model's folder."""
    try:
        found = read_json_file(own_file(path))
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({str(error).removeprefix(f'{path}: ')}); restore a copy") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is damaged (it holds {kind_of(found)}, no object); restore a copy")
    return found

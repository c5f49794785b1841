"""Files and folders that exist whole or not at all, and the JSON in them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError, ResourceError
from jielong.outside import parse_json

_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
FULL_BELOW_BYTES = 8_000_000


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into a ResourceError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(path if path.exists() else path.parent).free
            raise ResourceError(
                f"the disk of {path} is full ({free / 1e6:.0f} MB free); make room and run again"
            ) from error
        if error.errno in _UNWRITABLE:
            raise ResourceError(f"{path} cannot be written ({error.strerror}); choose another folder") from error
        raise


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, *, is_private: bool = False) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"), is_private=is_private)


def write_bytes(path: Path, data: bytes, *, is_private: bool = False) -> None:
    """Write aside, sync, rename: a reader sees the old file or the new one, never half. A private file is its owner's alone."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with open(aside, "wb", opener=_open_private if is_private else None) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises CheckpointError if it is missing or damaged."""
    try:
        return parse_json(path.read_text(encoding="utf-8"), nan=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; expected a JSON file there") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    except (DataError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore a copy of this one file") from error


def write_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a folder aside, sync its files, then rename it to `path`.

    An existing folder is moved out of the way first; `tidy` brings it back if a kill falls into the moment between.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            fill(aside)
            for file in aside.rglob("*"):
                if file.is_file():
                    _sync(file)
        except Exception as error:
            free = shutil.disk_usage(path.parent).free  # before the half-made folder gives its room back
            shutil.rmtree(aside, ignore_errors=True)
            if free < FULL_BELOW_BYTES:  # libraries name a full disk in many ways
                raise ResourceError(
                    f"the disk of {path} is full ({free / 1e6:.0f} MB free); make room and run again"
                ) from error
            raise
        if path.exists():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            aside.rename(path)
            shutil.rmtree(old)
        else:
            aside.rename(path)


def tidy(folder: Path) -> None:
    """Clear away the leftovers of killed writers in `folder` and below, and bring back folders that one had moved away."""
    for left in [*folder.rglob(".*.old"), *folder.rglob(".*.tmp")]:
        original = left.with_name(left.name[1:].rsplit(".", 2)[0])
        if left.suffix == ".old" and not original.exists():
            left.rename(original)
        elif left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)

"""Checksums of files and of records, so that a change after they were made is noticed, and named.

A file is remembered by its size and its SHA-256. A record (plain data in a JSON file of ours) carries its own SHA-256
under "seal". A record without a seal was made before there were seals, or written by hand, and is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jielong.outside import Fields
from jielong.runs.seeds import canonical_json

SEAL = "seal"
SMALL_BYTES = 1 << 20
"""Of a file that is cheap enough to be read again at each use."""

Sums = dict[str, dict[str, Any]]
"""Path within a folder, with slashes -> {"bytes": size, "sha256": hex digest}."""


def sums_of(root: Path, *names: str, leave_out: Collection[str] = ()) -> Sums:
    """Take the checksums of all regular files below `root`, or of `names` in it and all below them; links are not
    followed.

    Files named in `leave_out` are skipped.
    """
    found = [path for name in names or ("",) for path in _files(root / name) if path.name not in leave_out]
    return dict(
        zip((path.relative_to(root).as_posix() for path in found), _map_in_threads(found, _checksum), strict=True)
    )


def take_sums(fields: Fields, name: str) -> Sums:
    """Take the checksums in a field of a record, empty if there is none; the record's error if they are malformed."""
    sums = fields.inner(name, None)
    for file in sums.data:
        known = sums.inner(file)
        known.whole("bytes")
        known.text("sha256")
    return sums.data


def damage(folder: Path, sums: Mapping[str, Mapping[str, Any]], *, only_small: bool = False) -> dict[str, str]:
    """Find the files of `sums` that have changed since: name -> a phrase such as "is missing".

    With `only_small` the contents of files above `SMALL_BYTES` are not read; their sizes are checked all the same.
    """
    found = _map_in_threads(
        sums.items(), lambda item: _describe_change(folder / item[0], item[1], only_small=only_small)
    )
    return {name: fault for name, fault in zip(sums, found, strict=True) if fault}


def _files(path: Path) -> Iterator[Path]:
    """Yield the file itself, or all files below a folder, sorted."""
    if path.is_file() and not path.is_symlink():
        yield path
    for place, folders, names in os.walk(path):
        folders.sort()
        yield from (file for name in sorted(names) if stat.S_ISREG((file := Path(place) / name).lstat().st_mode))


def _map_in_threads(items: Collection[Any], one: Any) -> list[Any]:
    """Return `one` of each item, computed in threads."""
    # digests are made without the interpreter's lock
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, items))


def _checksum(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file, as records hold them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _describe_change(path: Path, known: Mapping[str, Any], *, only_small: bool) -> str:
    """Compare a file with its known size and checksum; return a phrase for the difference, "" for none."""
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            return "is no file any more"
        if seen.st_size != known["bytes"]:
            return f"has {seen.st_size:,} bytes, and had {known['bytes']:,} when it was made"
        if only_small and seen.st_size > SMALL_BYTES:
            return ""
        return "" if _checksum(path)["sha256"] == known["sha256"] else "holds other bytes than when it was made"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:  # a disk that cannot give back what it was given
        return f"cannot be read ({error.strerror or error})"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with its seal added."""
    # as it will be read: keys become strings, tuples lists
    return {**record, SEAL: _seal(json.loads(json.dumps(record)))}


def unsealed(data: Any) -> dict[str, Any] | None:
    """Return the record without its seal, or None if it is no object, or has changed since it was sealed."""
    if not isinstance(data, dict):
        return None
    record = {key: value for key, value in data.items() if key != SEAL}
    return record if SEAL not in data or data[SEAL] == _seal(record) else None


def _seal(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(record).encode("utf-8", "surrogatepass")).hexdigest()

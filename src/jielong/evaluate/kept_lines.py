"""Work that is written down line by line as it is done, so that the same command goes on after a kill.

A file holds one JSON object a line, each with the `id` of what it is about, in the order of their coming. A half-written
last line is cut off. `setup.json` beside it says how it was made; another setup is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.evaluate.concurrently import run_concurrently
from jielong.outside import Fields, parse_json
from jielong.runs import canonical_json, disk_errors, read_json, write_json


def keep_setup(path: Path, setup: Mapping[str, Any]) -> None:
    """Write the setup down, or check that it equals the one that was written."""
    if path.exists():
        before = Fields(read_json(path), str(path), CheckpointError).data
        for key in {**before, **setup}:
            if before.get(key) != setup.get(key):
                raise ConfigError(
                    f"{path.parent} holds results of another {key} ({before.get(key)!r}, now {setup.get(key)!r}); "
                    "name another folder with --out, or delete it"
                )
    else:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, setup)


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file, none where it does not exist; a half-written last one is cut off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    # lines of bytes, because those of a text also end at signs that may stand within an answer
    return whole.splitlines()


def known_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Return the objects of a file by their ids. Raises DataError, which names the line, if one is damaged."""
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(whole_lines(path), 1):
        try:
            data = Fields(parse_json(line.decode()), "the line").data
            found[str(data["id"])] = dict(data)
        except (DataError, UnicodeDecodeError, KeyError) as error:
            raise DataError(f"{path}:{number}: damaged ({error}); delete the line to make it again") from None
    return found


async def make_lines(
    path: Path,
    ids: Sequence[str],
    make: Callable[[int], Awaitable[Mapping[str, Any]]],
    *,
    at_once: int = 16,
    on_line: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Return an object for each id in order: those in the file, and the others by `make(number)`, added to it.

    `on_line` is told how many there are, and of how many.
    """
    known = known_lines(path)
    left = [number for number, id in enumerate(ids) if id not in known]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), path.open("a", encoding="utf-8") as file:

        async def one(place: int) -> None:
            number = left[place]
            line = {"id": ids[number], **await make(number)}
            file.write(canonical_json(line) + "\n")
            file.flush()
            known[ids[number]] = line

        def told(over: int) -> None:
            if on_line:
                on_line(len(ids) - len(left) + over, len(ids))

        await run_concurrently(one, len(left), at_most=at_once, on_end=told)
    return [known[id] for id in ids]

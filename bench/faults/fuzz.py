"""Damaged files before every reader: each is read well, or refused in a sentence; in time, and in bounded memory.

A child process walks through the damages, so that one that takes the process with it costs no more than a new child. It says
which one begins and how it ended; the parent ends it when it says nothing for ten seconds.

    python -m bench.faults.fuzz --count 200 --seed 0 [READER ...]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any

from bench.environments import ROOT
from bench.faults import fuzz_parsers
from bench.rows import Row

SHORT, LONG = 200, 10_000
"""Damages of each reader."""
LIMIT_S = 10.0
LIMIT_BYTES = 2 << 30
_MAKING_S = 300.0
"""For a child to start, and to make a reader's files."""
_MANY = 1000
"""Damages of a reader that are worth a child of their own, which takes seconds to start."""
_LETTERS = 5_000
"""Of an error that a person still reads."""


@dataclass
class Found:
    """How the damages of one reader ended."""

    name: str
    ends: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    """Those that must not be, by what was seen."""
    first: dict[str, int] = field(default_factory=dict)
    """The number of the first damage of each: with the seed it makes the damage again."""
    peak_bytes: int = 0

    def add(self, number: int, end: str, why: str = "") -> None:
        self.ends[end] += 1
        if end not in ("read", "refused"):
            self.bad[f"{end}: {why}"] += 1
            self.first.setdefault(f"{end}: {why}", number)


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """Two rows a reader: damages that ended in anything but a reading or a sentence, and the most memory taken."""
    count = SHORT if short else LONG
    for found in fuzz(seed, count, folder):
        seen = "; ".join(f"{number} {kind}" for kind, number in found.bad.most_common(3))
        yield Row(
            f"{found.name}: {count} damages, uncaught, hung or above 2 GB", "0", seen or 0, not seen, seeds=(seed,)
        )
        peak = round(found.peak_bytes / 1e6)
        yield Row(f"{found.name}: memory beyond that of the process", "at most 2147", peak, peak <= 2147, "MB", (seed,))
    if not short:
        yield from fuzz_parsers.rows(seed)


# The parent ---------------------------------------------------------------------------------------------------------


def fuzz(seed: int, count: int, folder: Path, names: Sequence[str] = ()) -> Iterator[Found]:
    """Try `count` damages on each reader, or on those named, and yield how they ended."""
    from bench.faults.fuzz_readers import READERS

    found = [Found(reader.name) for reader in READERS if not names or reader.name in names]
    done = told = 0
    while done < count * len(found):
        # each child has a folder of its own: what was killed in the midst of writing is looked at by nobody
        scratch = Path(tempfile.mkdtemp(dir=folder))
        done = _walk(_order(seed, count, done, scratch, [f.name for f in found]), found, count, done)
        yield from found[told : done // count]
        told = done // count


def _order(*order: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.faults.fuzz", "--child", json.dumps(order, default=str)]
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)


def _walk(child: subprocess.Popen[bytes], found: list[Found], count: int, done: int) -> int:
    """Take down what one child says until it ends; the number of damages that are done then, by it and before it."""
    assert child.stdout is not None
    is_making, begun = True, done
    try:
        lines = _Lines(child.stdout)
        while (line := lines.next_one(_MAKING_S if is_making else LIMIT_S)) is not _ENDED:
            reader = found[min(done // count, len(found) - 1)]
            if line is None:
                assert not is_making, f"the files of {reader.name} could not be made in time"
                reader.add(done % count, "hung", f"no end in {LIMIT_S:g} s")
                return done + 1
            said = json.loads(line)
            is_making = said["says"] != "begins"
            if said["says"] == "ended":
                reader.add(done % count, said["end"], said["why"])
                reader.peak_bytes = max(reader.peak_bytes, said["bytes"])
                done += 1
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    if is_making:
        assert done > begun, f"a child ended before the first damage of {found[done // count].name}"
        return done
    found[done // count].add(done % count, "died", f"exit code {child.returncode}")
    return done + 1


_ENDED = b"ended"


class _Lines:
    """Yield the lines that a process writes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = b""

    def next_one(self, patience_s: float) -> bytes | None:
        """The next line; `_ENDED` where there is none any more, None where it takes longer than that."""
        while b"\n" not in self._left:
            if not select.select([self._stream], [], [], patience_s)[0]:
                return None
            read = os.read(self._stream.fileno(), 1 << 16)
            if not read:
                return _ENDED
            self._left += read
        line, _, self._left = self._left.partition(b"\n")
        return line


# The child ----------------------------------------------------------------------------------------------------------


def _child(seed: int, count: int, start: int, folder: Path, names: Sequence[str]) -> None:
    """Walk through the damages from number `start` on, and say how each ended."""
    from bench.faults.fuzz_mutations import mutate
    from bench.faults.fuzz_readers import READERS

    says = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print too
    readers = [next(reader for reader in READERS if reader.name == name) for name in names]
    free = Path("/proc/self/statm")
    for number in range(start, count * len(names)):
        reader = readers[number // count]
        if number == start or not number % count:
            place = folder / f"{number}"
            place.mkdir()
            reader.make(place)
            kept = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
            for name in reader.files:
                reader.read((place / name).parent)
            _restore(place, kept)
            base_bytes = _peak_bytes(fresh=True)
            room = int(free.read_text().split()[0]) * resource.getpagesize() + LIMIT_BYTES + (1 << 29)
            resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
        random = Random(f"{seed} {reader.name} {number % count}")
        name = random.choice(reader.files)
        file = place / name
        damaged = mutate(kept[file], name, random)
        file.unlink()  # a mapping of the old one may live
        file.write_bytes(damaged)
        says.write('{"says": "begins"}\n')
        end, why = _outcome(reader, file.parent)
        taken = _peak_bytes() - base_bytes
        if taken > LIMIT_BYTES and end in ("read", "refused"):
            end, why = "memory", f"{taken >> 20} MB"
        says.write(json.dumps({"says": "ended", "end": end, "why": why, "bytes": taken}) + "\n")
        is_last = not (number + 1) % count
        if taken > LIMIT_BYTES // 2 or (is_last and count > _MANY):
            return  # a new child begins with little memory
        _restore(place, kept)


def _outcome(reader: Any, folder: Path) -> tuple[str, str]:
    from jielong.errors import JielongError

    try:
        reader.read(folder)
    except JielongError as error:
        return ("refused", "") if len(str(error)) <= _LETTERS else ("no sentence", f"{len(str(error)):,} letters")
    except MemoryError:
        return "memory", "MemoryError"
    except BaseException as error:
        at = next(
            f
            for f in reversed(traceback.extract_tb(error.__traceback__))
            if "jielong" in f.filename or "bench" in f.filename
        )
        words = " ".join(str(error).split())[:80]
        return "uncaught", f"{type(error).__name__} ({words}) at {Path(at.filename).name}:{at.lineno}"
    return "read", ""


def _restore(place: Path, kept: dict[Path, bytes]) -> None:
    for path in place.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, body in kept.items():
        if not path.exists() or path.read_bytes() != body:
            path.unlink(missing_ok=True)
            path.write_bytes(body)


def _peak_bytes(*, fresh: bool = False) -> int:
    """The most memory that this process has had at a time; `fresh` begins to count anew."""
    if fresh:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help="names; without any, all")
    parser.add_argument("--count", type=int, default=SHORT, help=f"damages of each reader (default: {SHORT})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        seed, count, start, folder, names = json.loads(arguments.child)
        _child(seed, count, start, Path(folder), names)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        for found in fuzz(arguments.seed, arguments.count, Path(scratch), arguments.readers):
            print(f"{found.name}: {dict(found.ends)}, {found.peak_bytes >> 20} MB", flush=True)
            for kind, number in found.bad.most_common():
                print(f"    {number:5}  {kind}  (first: {found.first[kind]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

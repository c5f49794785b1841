"""Where results live on disk, and the promises about them.

A run is a directory that grows: runs/RECIPE-SIZE-SEED/{run.json, STAGE/...}. Whatever exists in it is complete, because
files and directories are written aside, synced and renamed; a kill at any moment leaves either the old thing or the new
one. A stage is remembered by a fingerprint of everything that decides its result, so an unchanged one is not run again,
and every stage names the fingerprints of its parents, which is the family tree that `lineage` prints.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError, DataError, ResourceError, did_you_mean
from jielong.outside import Fields, is_name, parse_json

FORMAT_VERSION = 1
NOT_TALKING = ("reward", "control", "base")
"""Stages that end with a model nobody asks for when they ask for a run's model."""


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose: blake2b over the run's seed and the names (stage, purpose, index ...)."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces: equal data, equal text."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(data: Any) -> str:
    """Hex blake2b-128 of canonical JSON."""
    return hashlib.blake2b(canonical_json(data).encode(), digest_size=16).hexdigest()


_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
FULL_BELOW_BYTES = 8_000_000


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(path if path.exists() else path.parent).free
            raise ResourceError(
                f"the disk of {path} is full ({free / 1e6:.0f} MB free); make room and run again"
            ) from error
        if error.errno in _UNWRITABLE:
            raise ResourceError(
                f"{path} cannot be written ({error.strerror}); choose another folder with --runs"
            ) from error
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write aside, sync, rename: a reader sees the old file or the new one, never half."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The parsed file; CheckpointError when it is missing or damaged."""
    try:
        return parse_json(path.read_text(encoding="utf-8"), nan=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; expected a JSON file there") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    except (DataError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore a copy, or delete the folder it is in") from error


def write_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a folder aside, sync its files, then rename it to `path`.

    What was there is moved out of the way first; `tidy` brings it back if a kill falls into the moment between.
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
    """Clear away what killed writers left in `folder` and below, and bring back what one had moved out of the way."""
    for left in [*folder.rglob(".*.old"), *folder.rglob(".*.tmp")]:
        original = left.with_name(left.name[1:].rsplit(".", 2)[0])
        if left.suffix == ".old" and not original.exists():
            left.rename(original)
        elif left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def check_stages(record: Mapping[str, Any], file: Path) -> None:
    """CheckpointError unless what a run's record says of its stages has the shape that is read everywhere."""
    Fields(record, str(file), CheckpointError).text("model", None)
    for name, data in record["stages"].items():
        if not is_name(name):
            raise CheckpointError(f"{file} is damaged: a stage is called {name!r}")
        check_stage(data, f"{file}: the stage {name!r}")


def check_stage(data: Any, where: str) -> None:
    """CheckpointError unless one stage's entry has its shape; what the entry need not have may be missing."""
    entry = Fields(data, where, CheckpointError)
    entry.text("fingerprint", "")
    entry.number("seconds", 0.0, low=0.0)
    entry.whole("peak_memory_bytes", 0)
    parents = entry.inner("parents", {})
    for name in parents.data:
        parents.text(name)
    if entry.text("done", "") or "summary" in entry.data:
        summary = entry.inner("summary")
        for key in ("outputs", "shown"):
            if not all(is_name(part) for name in summary.texts(key, []) for part in name.split("/")):
                summary.wrong(key, "names of files in the run's folder")
        if not is_name(summary.text("checkpoint", "0")):
            summary.wrong("checkpoint", "the name of a folder")


class MetricsLog:
    """metrics.jsonl of one stage: one JSON object a line; on resume, lines after the step are cut away."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [r for r in read_metrics(path) if r.get("step", 0) <= resume_step]
            write_text(path, "".join(canonical_json(r) + "\n" for r in kept) if resume_step else "")
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        with disk_errors(self.path):
            self._file.write(canonical_json(dict(record)) + "\n")
            self._file.flush()

    def close(self) -> None:
        with disk_errors(self.path):
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics.jsonl; the last one, if a kill cut it short, is passed over.

    CheckpointError for a line that is damaged: no object of numbers by their names, with a whole step.
    """
    records = []
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            record = parse_json(line.decode(), nan=True)
            Fields(record, "the line").whole("step", 0)
        except (DataError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path}:{number} is damaged ({error}); delete the line") from error
        records.append(record)
    return records


class Run:
    """One run's directory: stages, their fingerprints, and run.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says: recipe, size, seed, resolved config, machine, stages with fingerprint and parents."""
        file = self.path / "run.json"
        if not file.exists():
            return {"version": FORMAT_VERSION, "stages": {}, "seconds": 0.0}
        record = read_json(file)
        if not isinstance(record, dict) or not isinstance(record.get("stages"), dict):
            raise CheckpointError(
                f"{file} is damaged (it lists no stages); restore a copy, or choose another --runs folder"
            )
        if record.get("version") != FORMAT_VERSION:
            raise CheckpointError(
                f"{file} has format version {record.get('version')!r}; this jielong reads version {FORMAT_VERSION}"
            )
        check_stages(record, file)
        return record

    def update(self, **fields: Any) -> None:
        write_json(self.path / "run.json", {**self.record, **fields})

    def begin(self, about: Mapping[str, Any], stages: Sequence[str], machine: Mapping[str, Any]) -> None:
        """Clear up after a kill, and note what is about to run, of which stages, and on what machine."""
        tidy(self.path)
        self.update(version=FORMAT_VERSION, **about, machine=dict(machine), load_at_start=load_average())
        self.keep_only(stages)

    def rename_fingerprints(self, new: Mapping[str, str]) -> None:
        """Give stages that are known under another fingerprint the new one: what an earlier version counted and this does not."""
        record = self.record
        stages = record["stages"]
        names = {
            mark for entry in stages.values() for mark in (entry.get("fingerprint"), *entry.get("parents", {}).values())
        }
        if all(new.get(mark, mark) == mark for mark in names if mark):
            return
        for entry in stages.values():
            for key in ("fingerprint", "done"):
                if key in entry:
                    entry[key] = new.get(entry[key], entry[key])
            entry["parents"] = {name: new.get(mark, mark) for name, mark in entry.get("parents", {}).items()}
        write_json(self.path / "run.json", record)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of this run; ConfigError when one is at it. A killed process lets go by itself."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            with disk_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{self.path} is at work in another process; wait for it, or choose another --runs folder or --seed"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def stage_path(self, stage: str) -> Path:
        return self.path / stage

    def checkpoint(self, stage: str) -> Path:
        """The model directory that a finished training stage ended with."""
        name = self.record["stages"][stage]["summary"]["checkpoint"]
        return self.stage_path(stage) / "steps" / name / "model"

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage has ended under this fingerprint and its result is still there."""
        entry = self.record["stages"].get(stage, {})
        if entry.get("done") != fingerprint or not self.stage_path(stage).is_dir():
            return False
        if not all((self.path / name).exists() for name in entry["summary"].get("outputs", [])):
            return False
        return "checkpoint" not in entry["summary"] or self.checkpoint(stage).is_dir()

    def _aside(self, stage: str, fingerprint: str) -> Path:
        """Where a finished result lies while another one of the same stage is in its place."""
        return self.path / "before" / f"{stage}-{fingerprint[:8]}"

    def take_back(self, stage: str, fingerprint: str) -> None:
        """Put a result that was set aside back into its place, unless it wrote into the run's folder too (a report)."""
        aside = self._aside(stage, fingerprint)
        if self.is_done(stage, fingerprint) or not (aside / "record.json").exists():
            return
        entry = read_json(aside / "record.json")
        if entry["done"] != fingerprint or entry["summary"].get("outputs"):
            return
        self._set_aside(stage)
        record = self.record
        record["stages"][stage] = entry
        write_json(self.path / "run.json", record)
        # a kill before this line: the folder is missing, and is looked for aside the next time
        aside.rename(self.stage_path(stage))

    def lay_aside(self, stage: str, entry: Mapping[str, Any], folder: Path) -> None:
        """Put a copy of a stage that was finished elsewhere where `take_back` finds it; `entry` is its record there."""
        aside = self._aside(stage, entry["done"])
        if (aside / "record.json").exists():
            return

        def fill(path: Path) -> None:
            shutil.copytree(folder, path, dirs_exist_ok=True)
            write_json(path / "record.json", dict(entry))

        write_directory(aside, fill)

    def _set_aside(self, stage: str) -> None:
        """Clear the stage's place: a finished result is kept under its fingerprint, half-done work is deleted."""
        record, folder = self.record, self.stage_path(stage)
        entry = record["stages"].pop(stage, {})
        if entry.get("done") and folder.is_dir():
            write_json(folder / "record.json", entry)
            aside = self._aside(stage, entry["done"])
            aside.parent.mkdir(exist_ok=True)
            if aside.exists():
                shutil.rmtree(aside)
            folder.rename(aside)
        # a kill before this line: run.json speaks of a result whose folder is missing, and it is looked for aside
        write_json(self.path / "run.json", record)
        if folder.exists():
            shutil.rmtree(folder)

    def keep_only(self, stages: Sequence[str]) -> None:
        """Forget stages that the recipe no longer has; their folders stay until they are made anew."""
        record = self.record
        record["stages"] = {n: s for n, s in record["stages"].items() if n in stages}
        write_json(self.path / "run.json", record)

    def begin_stage(self, stage: str, fingerprint: str, config: Any, parents: Mapping[str, str]) -> None:
        """Remember what is about to run; half-done work stays when it was begun under the same fingerprint.

        A finished result of another fingerprint is set aside in `before/`, so that trying a setting costs no result.
        """
        record = self.record
        before = record["stages"].get(stage, {})
        folder = self.stage_path(stage)
        if before.get("fingerprint") == fingerprint and folder.is_dir():
            tidy(folder)
        else:
            before = {}
            self._set_aside(stage)
            record = self.record
        folder.mkdir(parents=True, exist_ok=True)
        record["stages"][stage] = {
            **before,
            "fingerprint": fingerprint,
            "config": config,
            "parents": dict(parents),
            "seconds": before.get("seconds", 0.0),
        }
        write_json(self.path / "run.json", record)

    def add_costs(self, stage: str, seconds: float, peak_memory_bytes: int) -> None:
        """What a stage has taken, over all tries, and with it the whole run."""
        record = self.record
        entry = record["stages"][stage]
        entry["seconds"] = round(entry.get("seconds", 0.0) + seconds, 2)
        for taken in (entry, record):
            taken["peak_memory_bytes"] = max(taken.get("peak_memory_bytes", 0), peak_memory_bytes)
        record["seconds"] = round(sum(s["seconds"] for s in record["stages"].values()), 2)
        write_json(self.path / "run.json", record)

    def end_stage(self, stage: str, fingerprint: str, summary: Mapping[str, Any]) -> None:
        record = self.record
        record["stages"][stage] |= {"done": fingerprint, "summary": dict(summary)}
        write_json(self.path / "run.json", record)


def open_run(path: Path) -> Run:
    """An existing run; ConfigError when there is none at `path`."""
    if not (path / "run.json").exists():
        near = (
            sorted(p.name for p in path.parent.glob("*") if (p / "run.json").exists()) if path.parent.exists() else []
        )
        known = f"; runs there: {', '.join(near)}" if near else ""
        raise ConfigError(f"no run at {path} (no run.json in it){known}")
    return Run(path)


def find_model(path: Path, stage: str | None = None) -> Path:
    """The model folder that `path` means: itself, or what a stage of the run at `path` ended with.

    Without `stage` it is the one that the recipe names as the run's; before that one is done, and in runs made before
    recipes named one, the last that can talk. ConfigError when there is no such thing.
    """
    if not (path / "run.json").exists():
        for folder in (path, path / "model"):
            if (folder / "config.json").exists() or (folder / "adapter_config.json").exists():
                if stage is not None:
                    raise ConfigError(f"{path} is a model folder and no run; --stage {stage} says nothing there")
                return folder
        if (path.parent / "run.json").exists():
            return find_model(path.parent, path.name)
        raise ConfigError(f"{path} holds neither a run (run.json) nor a model (config.json)")
    run = Run(path)
    record = run.record
    done = [n for n, s in record["stages"].items() if "done" in s and "checkpoint" in s["summary"]]
    if stage is not None and stage not in done:
        raise ConfigError(f"run {path.name} has no finished stage {stage!r} with a model; {did_you_mean(stage, done)}")
    talking = [n for n in done if n not in NOT_TALKING]
    chosen = stage or (record["model"] if record.get("model") in done else next(reversed(talking), None))
    if chosen is None:
        raise ConfigError(f"{path} has no finished training stage yet; finish it with the command that began it")
    return run.checkpoint(chosen)


def lineage(run: Run) -> str:
    """The family tree of a run, one stage a line, parents first."""
    record = run.record
    lines = [f"{run.path.name}   recipe {record.get('recipe', '?')}   seed {record.get('seed', '?')}"]
    for name, stage in record["stages"].items():
        parents = ", ".join(f"{p} {d[:8]}" for p, d in stage.get("parents", {}).items()) or "nothing before it"
        mark = stage.get("fingerprint", "")
        state = "done" if stage.get("done") == mark else "unfinished"
        lines.append(f"  {name:<12} {mark[:8]}  {state:<10} {stage.get('seconds', 0.0):7.1f} s   from {parents}")
    return "\n".join(lines)


class MemoryWatch:
    """Peak resident memory of this process and all its children, sampled twice a second in a daemon thread."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while True:
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)
            if self._stop.wait(0.5):
                return


def load_average() -> float | None:
    """The machine's load over the last minute, where the system tells it."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def now_s() -> float:
    """Seconds of a clock that never goes back."""
    return time.monotonic()

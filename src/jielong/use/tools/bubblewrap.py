"""A sandbox of full CPython by bubblewrap: namespaces of its own, behind a filter of system calls, within limits.

A program sees an interpreter with its standard library and the system's libraries, read-only, and /tmp, 32 MiB that are
forgotten. There is no /proc, no other program, and no device but null and random numbers. It has no network and is
nobody, and the kernel does for it only what CPython needs (`seccomp`). Each process has limits of its own; the memory
of all together is checked from outside, ten times a second, or less often if a check takes long. The start of a
program, and for tests their result, is written to a file that no program holds, so nothing that one prints is taken for
bubblewrap's words or a verdict.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psutil

from jielong.config import at_least
from jielong.errors import ResourceError
from jielong.use.tools.sandbox import MAX_OUTPUT, Ran, joined
from jielong.use.tools.seccomp import filter_program

_NOBODY = 65534
_LOOK_S = 0.1
_TMP_BYTES = 32 * 2**20
_INODE_BYTES = 1024
"""Of the kernel's memory, about what a file takes that holds nothing."""


@dataclass(frozen=True)
class Bubblewrap:
    """Full CPython inside bubblewrap, within `memory_mb` MiB for all processes of a program, and `seconds` of the clock."""

    memory_mb: int = 512
    seconds: float = 10.0
    processes: int = 16

    def __post_init__(self) -> None:
        at_least(self, 1, "memory_mb", "processes")

    async def run(self, code: str) -> Ran:
        """Run a program in a sandbox; return its output, and whether it ended well."""
        async with self._start_sandbox("run", code) as running:
            await running.end()
        return Ran(joined(running.output, running.problem), running.code == 0)

    async def examine(self, program: str, tests: str) -> Ran:
        """Run tests against a program. They and the program have a sandbox each, joined by two pipes alone."""
        async with AsyncExitStack() as stack:
            calls, replies = os.pipe(), os.pipe()
            try:
                theirs = await stack.enter_async_context(self._start_sandbox("program", program, calls[0], replies[1]))
                ours = await stack.enter_async_context(self._start_sandbox("tests", tests, replies[0], calls[1]))
            finally:
                for end in (*calls, *replies):
                    os.close(end)
            await ours.end()
        printed = "\n".join(part for part in (theirs.output, theirs.problem, ours.output) if part)
        is_fine = ours.code == 0 and not ours.problem and ours.told == "started\npassed"
        refused = ours.told.partition("refused: ")[2]
        return Ran(joined(printed, ours.problem), is_fine, refused)

    @asynccontextmanager
    async def _start_sandbox(self, role: str, source: str, *pipes: int) -> AsyncIterator[_Running]:
        """Start a sandbox in which `inside` runs in this role; nothing of it is left afterwards."""
        # Root's processes are not counted, so root runs it as nobody: then a fork bomb meets its limit.
        nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        with open(os.memfd_create("filter"), "w+b") as filtering, open(os.memfd_create("told"), "w+b") as told:
            filtering.write(filter_program())
            filtering.seek(0)
            process = await asyncio.create_subprocess_exec(
                *self._command(filtering.fileno()),
                *self._inner_command(role, told.fileno(), *pipes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd="/",
                env={},
                pass_fds=(filtering.fileno(), told.fileno(), *pipes),
                **nobody,
            )
            running = _Running(process, source, self.seconds, self.memory_mb)
            try:
                yield running
            finally:
                await running.close()
            told.seek(0)
            running.told = told.read().decode(errors="replace")
        if (
            not running.told and running.code and running.code > 0
        ):  # below 0 a signal ended it: ours, or nobody knows whose
            said = running.output.removeprefix("bwrap: ").partition("\n")[0]
            raise ResourceError(
                f"bubblewrap cannot make a sandbox on this machine ({said}); user namespaces and seccomp must be allowed, or "
                "use the tool python instead of cpython"
            )

    def _command(self, filtering: int) -> list[str]:
        """Return bubblewrap's command line with everything that a program may see."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise ResourceError("full CPython runs in bubblewrap; apt-get install bubblewrap, or use the tool python")
        python = _python()
        seen = [python, *(f"{python.parents[1]}/{name}" for name in ("lib", "lib64"))]
        seen += ["/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"]
        return [
            bwrap,
            *"--unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv --hostname sandbox".split(),
            *f"--uid {_NOBODY} --gid {_NOBODY} --seccomp {filtering}".split(),
            *(part for path in dict.fromkeys(map(str, seen)) for part in ("--ro-bind-try", path, path)),
            *(part for name in ("lib", "lib64") if Path("/", name).exists() for part in _room(name)),
            *(
                part
                for name in ("null", "random", "urandom")
                for part in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
            ),
            # The only place to write. All others are on the root, which is a tmpfs too and has no bound.
            *f"--size {_TMP_BYTES} --tmpfs /tmp --symlink /tmp /dev/shm --remount-ro / --chdir /tmp".split(),
            *"--setenv PATH /usr/bin --setenv HOME /tmp --setenv LANG C.UTF-8".split(),
            *f"-- {python} -u -I -S -c".split(),
        ]

    def _inner_command(self, role: str, told: int, *pipes: int) -> list[str]:
        """Return the command that runs inside: its source and arguments."""
        limits = {
            "as": self.memory_mb * 2**20,
            "cpu": int(self.seconds) + 1,
            "nproc": self.processes,
            "fsize": 16 * 2**20,
            "nofile": 64,
            "core": 0,
        }
        source = resources.files("jielong.use.tools").joinpath("inside.py").read_text(encoding="utf-8")
        return [source, role, json.dumps(limits), *map(str, (told, *pipes))]


class _Running:
    """A running sandbox: fed, watched, and killed if it exceeds its time or memory."""

    def __init__(self, process: asyncio.subprocess.Process, source: str, seconds: float, memory_mb: int) -> None:
        self._process, self._seconds, self._memory_mb = process, seconds, memory_mb
        self._printed = bytearray()
        self.problem = ""
        self.told = ""
        assert process.stdin
        process.stdin.write(source.encode(errors="replace"))
        process.stdin.close()
        self._watching = asyncio.create_task(self._kill_beyond_limits())

    @property
    def output(self) -> str:
        return self._printed.decode(errors="replace")

    @property
    def code(self) -> int | None:
        return self._process.returncode

    async def end(self) -> None:
        """Wait until the program ends, or is killed."""
        await asyncio.shield(self._watching)

    async def close(self) -> None:
        """Kill the program now."""
        self._kill()
        await self._watching

    async def _kill_beyond_limits(self) -> None:
        """Watch time and memory until the program ends; kill it beyond a limit."""
        reading = asyncio.create_task(self._read())
        until_s, pause_s = time.monotonic() + self._seconds, _LOOK_S
        while not self.problem and not (await asyncio.wait([reading], timeout=pause_s))[0]:
            look_s = time.monotonic()
            if look_s > until_s:
                self.problem = f"stopped after {self._seconds:g} seconds"
            elif await asyncio.to_thread(held_bytes, self._process.pid) > self._memory_mb * 2**20:
                self.problem = f"ended: the programs held more than {self._memory_mb} MB"
            pause_s = max(_LOOK_S, 10 * (time.monotonic() - look_s))
        self._kill()
        await reading

    async def _read(self) -> None:
        """Read its output until there is no more or too much, and wait for the end."""
        assert self._process.stdout
        while len(self._printed) <= 4 * MAX_OUTPUT and (piece := await self._process.stdout.read(65536)):
            self._printed += piece
        if len(self._printed) > 4 * MAX_OUTPUT:
            self._kill()
        while await self._process.stdout.read(65536):  # to its end, which closes the pipe
            pass
        await self._process.wait()

    def _kill(self) -> None:
        """Kill the first process of the namespace, and all others with it."""
        # Not by asyncio's `kill`: it looks whether the process has ended, and its watcher then misses the end.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)  # the first process of a namespace takes all others with it


def held_bytes(pid: int) -> int:
    """Return the memory that a sandbox holds: its processes, shared pages counted once, and its /tmp."""
    total = 0
    try:
        # The first below is bubblewrap's own; the rest began when the sandbox was made.
        group = [one for one in psutil.Process(pid).children(recursive=True) if one.ppid() != pid]
    except psutil.Error:  # it has just ended
        return 0
    for one in group:
        with suppress(psutil.Error):  # that one has just ended
            total += one.memory_full_info().pss
    for one in group[:1]:
        with suppress(OSError):
            tmp = os.statvfs(f"/proc/{one.pid}/root/tmp")
            total += (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize + (tmp.f_files - tmp.f_ffree) * _INODE_BYTES
    return total


def _room(name: str) -> list[str]:
    """Return the mounts for /lib and the like: the link into /usr that it is, or its content."""
    path = f"/{name}"
    return ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]


def _python() -> Path:
    """Return the Python that runs inside: the system's, or else the one we run on."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    return Path(found or f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}").resolve()

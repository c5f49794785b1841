"""Two places where a model's Python may run and reach nothing: no file, network, process or secret of this machine.

`Monty` interprets a part of the language (package pydantic-monty): its worker has no operating system to call, and stops at
a stated memory, time and depth. `Bubblewrap` runs full CPython with the standard library in namespaces of its own: /usr
read-only, a small /tmp that is forgotten, no network, another user, limits on memory, processes and time. Both answer with
what was printed and the value of the last line, or with the error as Python words it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jielong.config import at_least
from jielong.errors import ConfigError, ResourceError
from jielong.use.tools.tool import Arguments, Tool, shortened

MAX_OUTPUT = 20_000
"""Characters of output that are read at most."""

_NOBODY = 65534


@dataclass(frozen=True)
class Ran:
    """What came out of a program, and whether it ended without an error."""

    output: str
    is_fine: bool


class Sandbox(Protocol):
    """Runs Python that nobody has read before."""

    async def run(self, code: str) -> Ran:
        """What the program printed and its last value; ResourceError where this machine cannot run it."""
        ...


@dataclass(frozen=True)
class Monty:
    """The interpreter of pydantic-monty, within `memory_mb` MiB of heap and `seconds` of running."""

    memory_mb: int = 128
    seconds: float = 5.0
    depth: int = 200

    def __post_init__(self) -> None:
        at_least(self, 1, "memory_mb", "depth")
        _monty()

    async def run(self, code: str) -> Ran:
        # Its own asynchronous pool aborts the process at exit now and then (1.4.0); in a thread it does not.
        return await asyncio.to_thread(self._run, code)

    def _run(self, code: str) -> Ran:
        monty = _monty()
        limits = {
            "max_feed_duration_secs": self.seconds,
            "max_memory": self.memory_mb * 2**20,
            "max_recursion_depth": self.depth,
            "max_total_sleep_secs": self.seconds,
        }
        printed = monty.CollectString(max_bytes=4 * MAX_OUTPUT)
        pool = monty.Monty(max_processes=1, request_timeout=2 * self.seconds + 1)
        with pool, pool.checkout(limits=limits) as session:
            try:
                value = session.feed_run(code, print_callback=printed)
            except monty.MontyError as error:
                problem = error.display() if hasattr(error, "display") else str(error)
                return Ran(_joined(printed.output, problem), False)
        return Ran(_joined(printed.output, "" if value is None else repr(value)), True)


def _monty() -> Any:
    try:
        import pydantic_monty
    except ImportError:
        raise ConfigError("the Python tool needs pydantic-monty; pip install 'jielong[tools]'") from None
    return pydantic_monty


_DRIVER = """
import ast, sys
tree, last, names = ast.parse(sys.stdin.read(), "program.py"), None, {"__name__": "__main__"}
if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
exec(compile(tree, "program.py", "exec"), names)
value = eval(compile(last, "program.py", "eval"), names) if last else None
if value is not None:
    print(repr(value))
"""


@dataclass(frozen=True)
class Bubblewrap:
    """Full CPython of this machine inside bubblewrap, `memory_mb` MiB a process, for `seconds` of the clock."""

    memory_mb: int = 512
    seconds: float = 10.0
    processes: int = 16

    def __post_init__(self) -> None:
        at_least(self, 1, "memory_mb", "processes")

    async def run(self, code: str) -> Ran:
        command = self._command()
        # Root's processes are not counted, so root runs it as nobody: then a fork bomb meets its limit.
        nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            env={},
            **nobody,
        )
        assert process.stdin and process.stdout
        written, problem = b"", ""
        try:
            async with asyncio.timeout(self.seconds):
                process.stdin.write(code.encode(errors="replace"))
                process.stdin.close()
                while len(written) <= 4 * MAX_OUTPUT and (piece := await process.stdout.read(65536)):
                    written += piece
                if len(written) <= 4 * MAX_OUTPUT:
                    await process.wait()
        except TimeoutError:
            problem = f"stopped after {self.seconds:g} seconds"
        finally:
            if process.returncode is None:
                process.kill()  # the first process of a namespace takes all others with it
            await process.stdout.read()  # to its end, which closes the pipe
            await process.wait()
        output = written.decode(errors="replace")
        if process.returncode and output.startswith("bwrap: "):
            raise ResourceError(
                f"bubblewrap cannot make a sandbox on this machine ({output[7:].partition(chr(10))[0]}); "
                "user namespaces must be allowed, or use the tool python instead of cpython"
            )
        return Ran(_joined(output, problem), process.returncode == 0)

    def _command(self) -> list[str]:
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise ResourceError("full CPython runs in bubblewrap; apt-get install bubblewrap, or use the tool python")
        python, bind = _python()
        rooms = [part for name in ("lib", "lib64", "bin") if Path("/", name).exists() for part in _room(name)]
        limits = {
            "as": self.memory_mb * 2**20,
            "cpu": int(self.seconds) + 1,
            "nproc": self.processes,
            "fsize": 16 * 2**20,
            "nofile": 64,
            "core": 0,
        }
        return [
            bwrap,
            *"--unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv --hostname sandbox".split(),
            *f"--uid {_NOBODY} --gid {_NOBODY} --ro-bind /usr /usr".split(),
            *rooms,
            *bind,
            *f"--proc /proc --dev /dev --size {32 * 2**20} --tmpfs /tmp --chdir /tmp".split(),
            *"--setenv PATH /usr/bin --setenv HOME /tmp --setenv LANG C.UTF-8".split(),
            "prlimit",
            *(f"--{name}={value}" for name, value in limits.items()),
            "--",
            python,
            *"-u -I -S -c".split(),
            _DRIVER,
        ]


def _room(name: str) -> list[str]:
    """/lib and the like: the link into /usr that it is, or what it holds."""
    path = f"/{name}"
    return ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]


def _python() -> tuple[str, list[str]]:
    """A Python that the sandbox can see, and what must be bound for it: the system's, or else the one we run on."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if found:
        return found, []
    home = sys.base_prefix
    return f"{home}/bin/python{sys.version_info.major}.{sys.version_info.minor}", ["--ro-bind", home, home]


def _joined(printed: str, then: str) -> str:
    text = "\n".join(part.rstrip("\n") for part in (printed, then) if part)
    return shortened(text, MAX_OUTPUT) or "(nothing was printed)"


def python_tool(sandbox: Sandbox) -> Tool:
    """The tool `python` over a sandbox."""

    async def run(arguments: Arguments) -> str:
        ran = await sandbox.run(arguments["code"])
        return ran.output if ran.is_fine else f"error: {ran.output}"

    return Tool(
        "python",
        "Runs a Python program without files or network; says what it printed and the value of its last line. 运行 Python 程序。",
        {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
        run,
    )

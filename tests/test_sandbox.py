"""Programs that try to get out of the sandboxes: all stay in, all end, and nothing of this machine is seen or changed."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from bench.faults.sandbox_attacks import ESCAPES as ATTACKS
from bench.faults.sandbox_attacks import SECRET as KEY
from bench.faults.sandbox_attacks import call, plant_key, read_key

from jielong.errors import ConfigError, ResourceError
from jielong.opening.tools import Equipment, Person, open_equipment
from jielong.use.tools.bubblewrap import Bubblewrap
from jielong.use.tools.loop import nobody
from jielong.use.tools.sandbox import Monty, Ran, Sandbox, python_tool

SECRET = "a-secret-of-this-process"


def run(sandbox: Sandbox, code: str) -> Ran:
    return asyncio.run(sandbox.run(code))


def bubblewrap() -> Bubblewrap:
    sandbox = Bubblewrap(memory_mb=256, seconds=3.0)
    try:
        run(sandbox, "1")
    except ResourceError as error:
        pytest.skip(str(error))
    return sandbox


@pytest.fixture(params=["monty", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Monty(memory_mb=64, seconds=1.0) if request.param == "monty" else bubblewrap()


def test_honest_programs_give_what_they_print_and_their_last_value(sandbox: Sandbox) -> None:
    assert run(sandbox, "import math\nprint('三角')\nmath.factorial(5)") == Ran("三角\n120", True)
    assert run(sandbox, "x = [i * i for i in range(4)]\nprint(sum(x))") == Ran("14", True)
    assert run(sandbox, "x = 1") == Ran("(nothing was printed)", True)


def test_errors_are_told_as_python_words_them(sandbox: Sandbox) -> None:
    failed = run(sandbox, "print('before')\n[][1]")
    assert not failed.is_fine
    assert failed.output.startswith("before\nTraceback") and "line 2" in failed.output
    assert failed.output.endswith("IndexError: list index out of range")
    assert "SyntaxError" in run(sandbox, "def f(:").output


ESCAPES = {
    "file": "open('{secret_file}').read()",
    "file by path": "from pathlib import Path\nPath('{secret_file}').read_text()",
    "passwords": "open('/etc/shadow').read()",
    "proc of the parent": "open('/proc/{pid}/environ').read()",
    "proc of all": "import os\nprint([open('/proc/' + p + '/cmdline').read() for p in os.listdir('/proc') if p == '{pid}'][0])",
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2).recv(99)",
    "name look-up": "import socket\nsocket.getaddrinfo('example.com', 80)",
    "process": "import subprocess\nsubprocess.run(['cat', '{secret_file}'], check=True)",
    "memory bomb": "x = 'a' * 2**20\nwhile True:\n    x += x",
    "big number": "len(str(9**9**9))",
    "endless loop": "while True:\n    pass",
    "recursion": "def f(n):\n    return f(n + 1) + 1\nf(0)",
    "symlink": "import os\nos.symlink('{secret_file}', 'link')\nopen('link').read()",
    "symlink to a folder": "import os\nos.symlink('{folder}', '/tmp/link')\nopen('/tmp/link/secret.txt').read()",
    "write outside": "open('{folder}/new.txt', 'w').write('x')",
    "write to the system": "open('/usr/new.txt', 'w').write('x')",
    "full disk": "f = open('/tmp/big', 'wb')\nwhile True:\n    f.write(b'x' * 2**20)",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['cat', '{secret_file}'])",
    "sleep": "import time\ntime.sleep(60)",
    "kill": "import os\nos.kill({pid}, 9)",
}


@pytest.mark.parametrize("attempt", ESCAPES)
def test_an_escape_fails_with_an_error_and_in_time(sandbox: Sandbox, attempt: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    heard: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        code = ESCAPES[attempt].format(
            secret_file=secret, folder=tmp_path, pid=os.getpid(), port=server.getsockname()[1]
        )
        start_s = time.monotonic()
        ran = run(sandbox, code)
        with pytest.raises(TimeoutError):
            heard.append(server.accept())
    assert time.monotonic() - start_s < 10
    assert not ran.is_fine, ran.output
    assert SECRET not in ran.output
    assert [f.name for f in tmp_path.iterdir()] == ["secret.txt"] and not Path("/usr/new.txt").exists()


@pytest.mark.parametrize("kind", ["monty", "bubblewrap"])
def test_memory_ends_where_it_is_said_to_end(kind: str) -> None:
    """A program that holds twice the limit fails by it, not by the clock, and runs where the limit is four times as high."""
    if kind == "bubblewrap":
        bubblewrap()  # or it is skipped
    small, large = (
        Monty(memory_mb=mb, seconds=20.0) if kind == "monty" else Bubblewrap(memory_mb=mb, seconds=20.0)
        for mb in (100, 400)
    )
    code = "x = 'a' * (200 * 2**20)\nlen(x)"
    assert run(large, code) == Ran(str(200 * 2**20), True)
    told = run(small, code)
    assert not told.is_fine and "MemoryError" in told.output


def test_the_environment_is_empty_of_ours(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIELONG_API_KEY", SECRET)
    told = run(sandbox, "import os\nprint(sorted(os.environ), dict(os.environ))")
    assert SECRET not in told.output and "JIELONG" not in told.output


def test_a_catastrophic_regular_expression_ends(sandbox: Sandbox) -> None:
    start_s = time.monotonic()
    told = run(sandbox, "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')")
    assert time.monotonic() - start_s < 10
    assert not told.is_fine or told.output == "(nothing was printed)"


def test_a_flood_of_output_is_cut(sandbox: Sandbox) -> None:
    told = run(sandbox, "while True:\n    print('x' * 1000)")
    assert not told.is_fine and len(told.output) < 25_000


def test_a_fork_bomb_meets_its_limit_and_leaves_nobody_behind() -> None:
    sandbox = bubblewrap()
    name = f"bomb{os.getpid()}"
    code = (
        f"import ctypes, os\nctypes.CDLL(None).prctl(15, b'{name}')\n"
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        print('no more')\n"
    )

    async def watched() -> tuple[int, Ran]:
        bomb = asyncio.create_task(sandbox.run(code))
        most = 0
        while not bomb.done():
            await asyncio.sleep(0.05)
            most = max(most, num_named(name))
        return most, await bomb

    most, told = asyncio.run(watched())
    assert not told.is_fine and "no more" in told.output
    assert 2 <= most <= sandbox.processes
    assert num_named(name) == 0


def num_named(name: str) -> int:
    """How many processes of this machine call themselves so."""
    return sum(_read(path).strip() == name for path in Path("/proc").glob("[0-9]*/comm"))


def test_there_is_no_forking_in_the_interpreter() -> None:
    assert not run(Monty(), "import os\nos.fork()").is_fine


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_full_python_is_nobody_in_an_empty_house() -> None:
    sandbox = bubblewrap()
    assert run(sandbox, "import os\nprint(os.getuid(), os.getpid())").output == "65534 2"
    assert "sandbox" in run(sandbox, "import socket\nsocket.gethostname()").output
    assert run(sandbox, "import os\nsorted(os.listdir('/'))").output == "['dev', 'lib', 'lib64', 'tmp', 'usr']"
    assert run(sandbox, "import os\nsorted(os.listdir('/dev'))").output == "['null', 'random', 'shm', 'urandom']"
    fds = "import os\nfor n in range(3, 64):\n    try:\n        os.fstat(n)\n        print(n)\n    except OSError:\n        pass"
    assert run(sandbox, fds).output == "(nothing was printed)"


def test_a_key_on_the_session_keyring_of_the_host_is_not_read_inside() -> None:
    sandbox = bubblewrap()
    if not plant_key():
        pytest.skip("this kernel has no keyrings")
    outside = subprocess.run([sys.executable, "-c", read_key()], capture_output=True, text=True)
    assert outside.stdout.strip() == KEY  # the attack works where nothing holds it back
    assert KEY not in run(sandbox, read_key()).output


def test_a_child_of_a_program_is_behind_the_filter_too() -> None:
    code = f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {call('keyctl')!r}], capture_output=True).stdout)"
    assert run(bubblewrap(), code).output == r"b'-1 38\n'"


def test_programs_that_hold_too_much_together_are_ended_and_pages_they_share_count_once() -> None:
    bubblewrap()  # or it is skipped
    fork = """
import os, time
{before}
for _ in range(8):
    if os.fork() == 0:
        {inside}
        time.sleep({s})
        os._exit(0)
time.sleep({s})
"""
    sandbox = Bubblewrap(memory_mb=256, seconds=20.0)
    start_s = time.monotonic()
    told = run(sandbox, fork.format(before="", inside="x = b'x' * (80 * 2**20)", s=15))
    assert told == Ran("ended: the programs held more than 256 MB", False) and time.monotonic() - start_s < 10
    assert run(sandbox, fork.format(before="x = b'x' * (80 * 2**20)", inside="pass", s=0.5)).is_fine


def test_a_run_that_is_given_up_leaves_nobody_behind() -> None:
    sandbox = bubblewrap()
    name = f"left{os.getpid()}"
    code = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}')\nwhile True:\n    pass\ndef f(): pass"

    async def given_up() -> None:
        for running in (sandbox.run(code), sandbox.examine(code, "f()"), sandbox.examine("def f(): pass", code)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(running, 0.8)

    asyncio.run(given_up())
    assert num_named(name) == 0


def test_what_can_be_written_is_bounded() -> None:
    told = run(bubblewrap(), ATTACKS["every place to write"])
    assert told.output.startswith("full") and int(told.output.split()[1]) <= 33 * 2**20


def test_a_program_that_prints_the_words_of_bubblewrap_ends_nothing() -> None:
    told = run(bubblewrap(), "print('bwrap: setting up uid map: Permission denied')\nraise SystemExit(1)")
    assert told == Ran("bwrap: setting up uid map: Permission denied", False)


@pytest.mark.parametrize("problem", ["No such option --seccomp", "No permissions to create new namespace"])
def test_what_keeps_bubblewrap_from_making_a_sandbox_is_said(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # root runs bubblewrap as nobody, who must find it
        program = Path(folder, "bwrap")
        program.write_text(f"#!/bin/sh\necho 'bwrap: {problem}'\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", folder)
        with pytest.raises(ResourceError, match=rf"\({problem}\); user namespaces and seccomp must be allowed"):
            run(Bubblewrap(), "1")


def test_a_tool_that_cannot_run_here_is_refused_before_anybody_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened() -> dict[str, object]:
        async with open_equipment(Equipment("cpython"), Person(nobody, print)) as found:
            return found

    bubblewrap()
    assert list(asyncio.run(opened())) == ["tools", "approve"]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="apt-get install bubblewrap"):
        asyncio.run(opened())


def test_where_there_is_no_filter_full_python_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ResourceError, match="there is none for riscv64"):
        run(Bubblewrap(), "1")


def test_programs_at_the_same_time_do_not_wait_for_each_other(sandbox: Sandbox) -> None:
    async def both() -> list[Ran]:
        return list(await asyncio.gather(sandbox.run("while True:\n    pass"), sandbox.run("1 + 1")))

    loop, honest = asyncio.run(both())
    assert not loop.is_fine and honest == Ran("2", True)
    assert threading.active_count() < 20


def test_the_tool_says_what_the_program_said() -> None:
    tool = python_tool(Monty())
    assert asyncio.run(tool.answer({"code": "print(1)\n2"})) == "1\n2"
    assert asyncio.run(tool.answer({"code": "1/0"})).startswith("error: Traceback")
    assert "lack 'code'" in asyncio.run(tool.answer({}))


def test_without_bubblewrap_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="apt-get install bubblewrap"):
        run(Bubblewrap(), "1")
    with pytest.raises(ConfigError, match="memory_mb"):
        Bubblewrap(memory_mb=0)

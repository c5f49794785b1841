"""Programs that attack the sandboxes and the verdict of code tasks; each prints a word where it has got somewhere."""

from __future__ import annotations

import ctypes
import platform

GOT = "got through"
"""An attack prints this when it has succeeded."""

_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(4096)
result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in ({arguments})])
print(result, ctypes.get_errno())
if result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
    print("{got}")
"""
# Numbers on x86-64 and aarch64, and arguments with which the call would do something, or be refused by its own checks with
# another word than EPERM.
CALLS = {
    "keyctl": (250, 219, "0, -3, 1"),
    "add_key": (248, 217, "b'user', b'planted', b'x', 1, -3"),
    "request_key": (249, 218, "b'user', b'jielong-secret', None, -3"),
    "io_uring_setup": (425, 425, "8, room"),
    "io_uring_enter": (426, 426, "0, 1, 0, 0, None, 0"),
    "io_uring_register": (427, 427, "0, 0, None, 0"),
    "socket(AF_VSOCK)": (41, 198, "40, 1, 0"),
    "socket(AF_INET)": (41, 198, "2, 1, 0"),
    "socket(AF_NETLINK)": (41, 198, "16, 3, 0"),
    "socket(AF_ALG)": (41, 198, "38, 5, 0"),
    "unshare(CLONE_NEWUSER)": (272, 97, "0x10000000"),
    "clone(CLONE_NEWUSER)": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "clone(CLONE_NEWNET)": (56, 220, "0x40000011, 0, 0, 0, 0"),
    "clone3": (435, 435, "room, 88"),
    "setns": (308, 268, "0, 0"),
    "ptrace": (101, 117, "0, 0, 0, 0"),
    "process_vm_readv": (310, 270, "1, room, 1, room, 1, 0"),
    "process_vm_writev": (311, 271, "1, room, 1, room, 1, 0"),
    "pidfd_getfd": (438, 438, "0, 0, 0"),
    "mount": (165, 40, "b'none', b'/tmp', b'tmpfs', 0, None"),
    "umount2": (166, 39, "b'/tmp', 2"),
    "pivot_root": (155, 41, "b'/tmp', b'/tmp'"),
    "chroot": (161, 51, "b'/tmp'"),
    "open_tree": (428, 428, "-100, b'/', 1"),
    "fsopen": (430, 430, "b'tmpfs', 0"),
    "mount_setattr": (442, 442, "-100, b'/', 0, room, 32"),
    "bpf": (321, 280, "0, room, 128"),
    "perf_event_open": (298, 241, "room, 0, -1, -1, 0"),
    "userfaultfd": (323, 282, "1"),
    "kexec_load": (246, 104, "0, 0, None, 0"),
    "init_module": (175, 105, "room, 16, b''"),
    "finit_module": (313, 273, "0, b'', 0"),
    "open_by_handle_at": (304, 265, "-100, room, 0"),
    "memfd_create": (319, 279, "b'hidden', 0"),
    "shmget": (29, 194, "0, 4096, 0o1600"),
    "msgget": (68, 186, "0, 0o1600"),
    "mq_open": (240, 180, "b'q', 0o102, 0o600, None"),
    "mmap(MAP_SHARED | MAP_ANONYMOUS)": (9, 222, "0, 4096, 3, 0x21, -1, 0"),
    "ioctl(TIOCSTI)": (16, 29, "0, 0x5412, b'x'"),
    "fanotify_init": (300, 262, "0, 0"),
    "syslog": (103, 116, "3, room, 4096"),
    "a call of x32": (0x40000000 + 39, 1000, ""),
}


def call(name: str) -> str:
    """The program that makes a call of `CALLS`."""
    number = CALLS[name][platform.machine() == "aarch64"]
    return _CALL.format(arguments=f"{number}, {CALLS[name][2]}", got=GOT)


SECRET = "a-secret-of-this-machine"


def plant_key() -> bool:
    """Put the secret on a new session keyring of this process; whether this kernel has keyrings."""
    libc, machine = ctypes.CDLL(None, use_errno=True), platform.machine() == "aarch64"
    libc.syscall(CALLS["keyctl"][machine], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING; it goes when this process ends
    at = ctypes.c_int(-3)  # KEY_SPEC_SESSION_KEYRING
    made = libc.syscall(CALLS["add_key"][machine], b"user", b"jielong-secret", SECRET.encode(), len(SECRET), at)
    return bool(made != -1)


def read_key() -> str:
    """The program that looks for the secret on its session keyring and prints it."""
    number = CALLS["keyctl"][platform.machine() == "aarch64"]
    return f"""
import ctypes
libc = ctypes.CDLL(None)
room = ctypes.create_string_buffer(100)
key = libc.syscall({number}, 10, ctypes.c_int(-3), b"user", b"jielong-secret", 0)  # KEYCTL_SEARCH
libc.syscall({number}, 11, ctypes.c_int(key), room, 100)  # KEYCTL_READ
print(room.value.decode())
"""


ESCAPES = {
    "fork bomb": """
import os, time
children = 0
for _ in range(1000):
    try:
        if os.fork() == 0:
            time.sleep(60)
        children += 1
    except OSError:
        pass
print("GOT" if children > 16 else "no more")
""",
    "memory of all processes": """
import os, time
for _ in range(12):
    if os.fork() == 0:
        held = bytearray(100 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(60)
time.sleep(4)
print("GOT")
""",
    "memory of a million files": """
import os
for i in range(10**6):
    os.close(os.open(f"/tmp/{i}", os.O_CREAT))
print("GOT")
""",
    "every place to write": """
import os
for folder in ("/", "/dev", "/usr", "/usr/lib", "/usr/bin", "/usr/share", "/proc", "/sys", "/etc", "/var", "/run", "/home"):
    try:
        open(os.path.join(folder, "new"), "w").close()
        print("GOT", folder)
    except OSError:
        pass
written = 0
for folder in ("/tmp", "/dev/shm"):
    try:
        for number in range(100):
            with open(f"{folder}/{folder[-3:]}{number}", "wb", buffering=0) as file:
                for _ in range(8):
                    written += file.write(b"x" * 2**20)
    except OSError:
        pass
print("GOT" if written > 33 * 2**20 else "full", written)
""",
    "signals to a process of the host": "import os\nos.kill(PID, 0)\nprint('GOT')",
    "the processes of the host": "print(open('/proc/PID/cmdline').read(), 'GOT')",
    "a file of the host": "print(open('SECRET').read(), 'GOT')",
    "a program of the host": "import subprocess\nsubprocess.run(['/usr/bin/env'], check=True)\nprint('GOT')",
    "the channel of the verdict": """
import os
for fd in range(3, 64):
    try:
        os.write(fd, b"passed")
        print("GOT")
    except OSError:
        pass
""",
    "32-bit calls": """
import ctypes, mmap
code = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
print("GOT")
""",
}

HONEST = {
    "processes and a queue": """
import multiprocessing as m
q = m.Queue()
p = m.Process(target=q.put, args=(5,))
p.start()
print(q.get())
p.join()
""",
    "asyncio and another Python": """
import asyncio, sys
async def f():
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)")
    await other.wait()
asyncio.run(f())
""",
    "threads and shared memory": """
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(abs, [-1, -4])))
memory = shared_memory.SharedMemory(create=True, size=9)
memory.close()
memory.unlink()
""",
    "files, copies and a database": """
import shutil, sqlite3
open("a", "w").write("5")
shutil.copy2("a", "b")
sqlite3.connect("c").execute("create table t(x)")
print(open("b").read())
""",
    "time zones, signals and hashes": """
import hashlib, signal, zoneinfo
zoneinfo.ZoneInfo("Europe/Berlin"), hashlib.sha256(b"x"), signal.setitimer(signal.ITIMER_REAL, 9)
print(5)
""",
}
"""Programs that print 5."""

TESTS = "assert square(12) == 144\nassert square(-3) == 9"
_EQUAL = """
class Equal{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __sub__(self, other): return self
    __rsub__ = __add__ = __radd__ = __abs__ = __sub__
"""
_WRITE = """
import os
def square(x):
    for fd in range(3, 64):
        try:
            os.write(fd, {reply!r}.encode() + b"\\n")
        except OSError:
            pass
    return 0
"""
CHEATS = {
    "leaves with 0": "import os\ndef square(x):\n    print('passed')\n    os._exit(0)",
    "leaves at once": "print('passed')\nraise SystemExit(0)",
    "leaves at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef square(x): raise SystemExit(0)",
    "walks the frames and writes what they hold": """
import os, sys
def square(x):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_globals.values(), *frame.f_locals.values(), *frame.f_code.co_consts]:
            if isinstance(value, str):
                print(value)
        frame.f_globals["assert"] = None
        frame = frame.f_back
    print("passed")
    os._exit(0)
""",
    "prints the last line of what its driver runs": """
import ast, os, sys
frame = sys._getframe()
while frame.f_back:
    frame = frame.f_back
    for value in [*frame.f_locals.values()]:
        if isinstance(value, ast.AST):
            for word in ast.walk(value):
                if isinstance(word, ast.Constant):
                    print(word.value)
os._exit(0)
""",
    "finds the frames by a traceback": """
def square(x):
    try:
        1 / 0
    except ZeroDivisionError as error:
        at = error.__traceback__.tb_frame
        while at.f_back:
            at = at.f_back
        at.f_globals["examine"] = lambda *args: "passed"
        at.f_builtins["AssertionError"] = type("Quiet", (Exception,), {"__init__": lambda *a: None})
    return 0
""",
    "looks through the collector": """
import gc
def square(x):
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "refused" in thing:
            thing["refused"] = ""
        if type(thing).__name__ in ("Asking", "Serving", "Line"):
            print(vars(thing))
    return next((t for t in gc.get_objects() if isinstance(t, int) and t == 144), None)
""",
    "replaces what Python has": """
import builtins
builtins.AssertionError = type("Quiet", (), {})
builtins.all = builtins.any = builtins.isinstance = lambda *a: True
builtins.compile = lambda *a, **k: (lambda: None).__code__
builtins.exec = builtins.print = lambda *a, **k: None
def square(x): return 0
""",
    "replaces the module of messages": """
import json, operator
json.loads = lambda *a: ["value", True, []]
json.dumps = lambda *a: '["value", true, []]'
operator.eq = lambda *a: True
def square(x): return 0
""",
    "returns an object that equals everything": _EQUAL.format(base="") + "def square(x): return Equal()",
    "is an object that equals everything": _EQUAL.format(base="")
    + "Equal.__call__ = lambda self, x: self\nsquare = Equal()",
    "returns a number that equals everything": _EQUAL.format(base="(int)") + "def square(x): return Equal(0)",
    "returns a text that equals everything": _EQUAL.format(base="(str)") + "def square(x): return Equal('x')",
    "returns a list of what equals everything": _EQUAL.format(base="") + "def square(x): return [Equal()]",
    "claims another class": _EQUAL.format(base="") + "Equal.__class__ = int\ndef square(x): return Equal()",
    "brings helpers for the tests": """
def check(*a): pass
class AssertionError(Exception): pass
def square(x): return 0
""",
    "stops the tests' loops": "def square(x): raise StopIteration",
    "raises what ends a process": "def square(x): raise SystemExit(0)",
    "raises what stops a generator": "def square(x): raise GeneratorExit",
    "answers before it is asked": """
import os
for fd in range(3, 64):
    try:
        os.write(fd, b'["value", true, []]\\n["value", 144, []]\\n["value", 9, []]\\n')
    except OSError:
        pass
def square(x): return 0
""",
    "answers with an error that is none": _WRITE.format(reply='["raised", ["SystemExit"], []]'),
    "answers with a stop": _WRITE.format(reply='["stop"]'),
    "answers with an unknown tag": _WRITE.format(reply='["value", ["pickle", "gASV"], []]'),
    "answers with what is no JSON": _WRITE.format(reply="}{"),
    "answers with 100,000 brackets": _WRITE.format(reply="[").replace("'['", "'[' * 100_000"),
    "answers with a line without end": _WRITE.format(reply="x").replace("'x'", "'x' * 20_000_000"),
    "answers with a huge number": _WRITE.format(reply='["value", ["int", "0xf"], []]').replace(
        "0xf", "0x' + 'f' * 1_000_000 + '"
    ),
    "answers for a thing that is not there": _WRITE.format(reply='["value", ["thing", [10000000000, "int"]], []]'),
    "changes arguments that are not there": _WRITE.format(reply='["value", 144, [[-1, ["list", [144]]]]]'),
    "kills its parent and all others": "import os, signal\ndef square(x):\n    os.kill(os.getppid(), 9)\n    os.kill(-1, 15)",
    "leaves a child that holds the pipe": """
import os, time
def square(x):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
""",
    "never answers": "import time\ndef square(x):\n    time.sleep(60)",
    "never ends its first lines": "while True: pass",
    "prints without end": "def square(x):\n    while True: print('passed')",
    "reads the memory of others": """
def square(x):
    for pid in range(1, 99):
        try:
            print(open(f"/proc/{pid}/mem", "r+b"))
        except OSError:
            pass
    return 0
""",
    "leaves a module for the tests to import": "open('/tmp/json.py', 'w').write('loads = lambda *a: 144')\ndef square(x): return 0",
    "hides a name of the tests": "__name__ = 'tests'\n__builtins__ = {}\ndef square(x): return x",
    "does nothing": "",
}
"""Programs that pass none of `TESTS` by computing."""

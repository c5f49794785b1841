"""The filter of system calls, run by an interpreter of its own, decides the same on both architectures."""

from __future__ import annotations

import errno
import re
import struct
import subprocess
from pathlib import Path

import pytest

from jielong.errors import ResourceError
from jielong.use.tools.seccomp import _CHECKED, allowed, filter_program

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}


def decided(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Interpret the filter for `struct seccomp_data` with this call, by the rules of classic BPF."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("=HBBI", program))
    at, held = 0, 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:  # load a word
            held = struct.unpack_from("=I", data, value)[0]
        elif code == 0x54:  # and
            held &= value
        elif code == 0x15:  # jump where equal
            at += yes if held == value else no
        else:
            assert code == 0x06  # return
            return value


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_only_listed_calls_of_this_architecture_are_allowed(machine: str) -> None:
    program, architecture = filter_program(machine), ARCHITECTURES[machine]
    checked = {getattr(call, machine) for call in _CHECKED}
    assert len(program) // 8 <= 4096  # as many as the kernel takes
    for number in (*range(600), 0x40000000 + 39, 2**32 - 1):
        wanted = ALLOW if number in allowed(machine).values() else UNKNOWN
        if number not in checked:
            assert decided(program, architecture, number) == wanted, number
    for other in {X86_64, AARCH64, I386} - {architecture}:
        assert decided(program, other, allowed(machine)["read"]) == KILL


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_some_calls_are_allowed_for_some_arguments(machine: str) -> None:
    clone, mmap, ioctl, socket, socketpair = (getattr(call, machine) for call in _CHECKED)

    def result(number: int, *arguments: int) -> int:
        return decided(filter_program(machine), ARCHITECTURES[machine], number, *arguments)

    assert result(clone, 0x11) == result(clone, 0x3D0F00) == ALLOW  # fork and a thread
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert result(clone, flag | 0x11) == REFUSE
    assert result(mmap, 0, 4096, 3, 0x22) == result(mmap, 0, 4096, 3, 0x1) == ALLOW
    assert result(mmap, 0, 4096, 3, 0x21) == result(mmap, 0, 4096, 3, 0x40021) == REFUSE
    assert result(ioctl, 0, 0x5401) == ALLOW
    assert result(ioctl, 0, 0x5412) == result(ioctl, 0, 2**32 + 0x5412) == result(ioctl, 0, 0x541C) == REFUSE
    for call in (socket, socketpair):
        assert [result(call, family) for family in (1, 2, 10, 16, 38, 40)] == [ALLOW, *[REFUSE] * 5]


def test_another_architecture_is_named() -> None:
    with pytest.raises(ResourceError, match="none for riscv64, only for x86_64 and aarch64; use the tool python"):
        filter_program("riscv64")


def test_the_numbers_are_those_of_the_headers() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    own = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not (header.exists() and own.exists()):
        pytest.skip("the kernel's headers are not here")
    defined = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", own.read_text()))
    assert {name: int(defined[name]) for name in allowed("x86_64")} == allowed("x86_64")
    flags = ("NEW_STAT", "SET_GET_RLIMIT", "RENAMEAT", "TIME32_SYSCALLS")
    made = subprocess.run(
        ["cpp", "-dM", "-D__BITS_PER_LONG=64", *(f"-D__ARCH_WANT_{flag}" for flag in flags), header],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip("there is no preprocessor here")
    defined = dict(re.findall(r"#define (__NR\w*)\s+(\S+)", made.stdout))
    for name, number in allowed("aarch64").items():
        found = f"__NR_{name}"
        while found in defined:
            found = defined[found]
        assert found == str(number), name

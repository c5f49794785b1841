"""Write the filter of system calls that a sandbox runs behind, as classic BPF for x86-64 and aarch64.

A program in namespaces of its own still talks to the kernel of the host, and much of a kernel knows no namespaces: keyrings,
io_uring, vsock, BPF, performance counters. So a call is refused unless CPython and its libraries need it. A list of what is
needed outlives a list of what is dangerous: a call that a later kernel adds is refused too, with ENOSYS, as by a kernel that
does not have it, and libraries then fall back to older ones. Six calls are allowed for some arguments only.

The program is what `seccomp(2)` takes, an array of `struct sock_filter`; `bwrap --seccomp FD` reads it and sets it as its last
act before the program starts. BPF itself is described in the kernel's Documentation/networking/filter.rst.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from jielong.errors import ResourceError

# Numbers on x86-64 and on aarch64 ("-": it has no such call), from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h. A test compares them with the headers of the machine it runs on.
_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
preadv2 327 286, pwritev2 328 287, open 2 -, creat 85 -, openat 257 56, close 3 57, close_range 436 436, lseek 8 62,
stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -,
faccessat 269 48, faccessat2 439 439, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50,
rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, readlink 89 -, readlinkat 267 78, chmod 90 -, fchmod 91 52,
fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, umask 95 166, utime 132 -, utimes 235 -,
utimensat 280 88, futimesat 261 -, truncate 76 45, ftruncate 77 46, fallocate 285 47, fsync 74 82, fdatasync 75 83,
flock 73 32, fcntl 72 25, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, sendfile 40 71,
copy_file_range 326 285, fadvise64 221 223, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11,
llistxattr 195 12, flistxattr 196 13, munmap 11 215, mprotect 10 226, mremap 25 216, brk 12 214, madvise 28 233,
msync 26 227, membarrier 324 283, fork 57 -, vfork 58 -, execve 59 221, exit 60 93, exit_group 231 94, wait4 61 260,
waitid 247 95, kill 62 129, tkill 200 130, tgkill 234 131, getpid 39 172, getppid 110 173, gettid 186 178,
getpgrp 111 -, getpgid 121 155, setpgid 109 154, getsid 124 156, setsid 112 157, getuid 102 174, geteuid 107 175,
getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, prctl 157 167,
arch_prctl 158 -, set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, futex 202 98,
restart_syscall 219 128, sched_yield 24 124, sched_getaffinity 204 123, sched_setaffinity 203 122,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
getpriority 140 141, setpriority 141 140, getrlimit 97 163, setrlimit 160 164, prlimit64 302 261, getrusage 98 165,
times 100 153, uname 63 160, sysinfo 99 179, getcpu 309 168, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132,
pause 34 -, alarm 37 -, getitimer 36 102, setitimer 38 103, nanosleep 35 101, clock_nanosleep 230 115,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, bind 49 200, connect 42 203, listen 50 201, accept 43 202,
accept4 288 242, getsockname 51 204, getpeername 52 205, sendto 44 206, recvfrom 45 207, sendmsg 46 211,
recvmsg 47 212, sendmmsg 307 269, recvmmsg 299 243, shutdown 48 210, getsockopt 55 209, setsockopt 54 208,
getrandom 318 278
"""
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of sched.h
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS of mman.h
_MAP_KIND = 0x2F  # MAP_TYPE | MAP_ANONYMOUS
_AF_UNIX = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # both put words into the input of a terminal


@dataclass(frozen=True)
class Checked:
    """A call that is allowed when its `argument`, counted from 0 and masked, is one of `values`, or with `is_refused`
    is none.
    """

    x86_64: int
    aarch64: int
    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    is_refused: bool = False


_CHECKED = (
    # Threads and processes, but in the namespaces there are. clone3 hands its flags over in memory, where no filter can
    # look: it is not allowed at all, and libc falls back to clone.
    Checked(56, 220, 0, (0,), mask=_NEW_NAMESPACES),
    # Memory shared without a file can be held without being mapped, where nobody counts it.
    Checked(9, 222, 3, (_SHARED_ANONYMOUS,), mask=_MAP_KIND, is_refused=True),
    Checked(16, 29, 1, (_TIOCSTI, _TIOCLINUX), is_refused=True),  # ioctl
    Checked(41, 198, 0, (_AF_UNIX,)),  # socket
    Checked(53, 199, 0, (_AF_UNIX,)),  # socketpair
)

# Where `struct seccomp_data` holds the number, the architecture and the low half of an argument (both are little-endian).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JEQ|K, BPF_RET|K
_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000  # SECCOMP_RET_KILL_PROCESS, _ERRNO, _ALLOW
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of audit.h


def allowed(machine: str) -> dict[str, int]:
    """Return the calls that are allowed with any arguments, by name, with their numbers on this machine."""
    column = list(_ARCHITECTURES).index(machine) + 1
    rows = (row.split() for row in _ALLOWED.replace("\n", " ").split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def filter_program(machine: str = "") -> bytes:
    """Return the filter for this machine, or the one named. Raises ResourceError if there is none.

    Another architecture than the machine's own (32-bit calls on x86-64) ends the program. The numbers of x32 carry a
    bit that no number of the table has, so they are refused as unknown.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise ResourceError(
            f"full CPython runs behind a filter of system calls, and there is none for {machine or 'this machine'}, only for "
            f"{' and '.join(_ARCHITECTURES)}; use the tool python instead of cpython"
        )
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), (_RETURN, 0, 0, _KILL)]
    lines.append((_LOAD, 0, 0, _NUMBER))
    for number in allowed(machine).values():
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for call in _CHECKED:
        block = _check_argument(call)
        lines += [(_EQUAL, 0, len(block), getattr(call, machine)), *block]
    lines.append((_RETURN, 0, 0, _ERROR | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)  # struct sock_filter


def _check_argument(call: Checked) -> list[tuple[int, int, int, int]]:
    """Return instructions that check the argument and return; reached only for this call."""
    refuse = _ERROR | errno.EPERM
    found, otherwise = (refuse, _ALLOW) if call.is_refused else (_ALLOW, refuse)
    lines = [(_LOAD, 0, 0, _ARGUMENTS + 8 * call.argument), (_AND, 0, 0, call.mask)]
    for value in call.values:
        lines += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, found)]
    return [*lines, (_RETURN, 0, 0, otherwise)]

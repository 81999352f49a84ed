"""The system calls that a sandboxed program may make: an allow-list, enforced by seccomp.

The kernel does not execute a call that is not listed. The call fails with `EPERM`, or with `ENOSYS` if libraries then
use an older call instead. Calls that can do harm are allowed for some arguments only. The calls of a new kernel are
refused until they are added here. The list has the calls that CPython 3.11 and its standard library need, measured with
strace.

Calls that change a file by its path without Landlock's check (`chmod`, `utimensat`, `setxattr`) are not listed.

The numbers are from asm/unistd_64.h (x86-64) and asm-generic/unistd.h (ARM, 64 bits). A test compares them with the
headers. The filter has about 300 instructions and is built in 0.2 ms. The kernel caches which calls are always allowed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

ALLOWED = """
read 0 63, write 1 64, pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70,
preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24,
ftruncate 77 46, fallocate 285 47, fadvise64 221 223, fsync 74 82, fdatasync 75 83, flock 73 32, sendfile 40 71,
copy_file_range 326 285,
fstat 5 80, stat 4 -, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -,
faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61,
getcwd 79 17, chdir 80 49, fchdir 81 50, umask 95 166, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -,
unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, symlink 88 -, symlinkat 266 36,
pipe 22 -, pipe2 293 59, eventfd2 290 19, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20,
epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, timerfd_create 283 85,
timerfd_settime 286 86, timerfd_gettime 287 87, recvfrom 45 207, shutdown 48 210, getsockname 51 204,
getpeername 52 205,
mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, msync 26 227, brk 12 214,
futex 202 98, set_robust_list 273 99, rseq 334 293, set_tid_address 218 96, sched_yield 24 124,
exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, restart_syscall 219 128,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigsuspend 130 133,
rt_sigtimedwait 128 137, sigaltstack 131 132, pause 34 -,
nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169,
time 201 -, times 100 153, getrusage 98 165, alarm 37 -, getitimer 36 102, setitimer 38 103,
getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177,
getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgrp 111 -, uname 63 160, sysinfo 99 179, getcpu 309 168,
getrandom 318 278, getrlimit 97 163, setrlimit 160 164
"""
"""Calls that are allowed with any argument: name, number on x86-64, number on ARM."""
CHECKED = """
open 2 -, openat 257 56, socketpair 53 199, sendto 44 206, getsockopt 55 209, fcntl 72 25, ioctl 16 29, prctl 157 167,
clone 56 220, kill 62 129, tgkill 234 131, prlimit64 302 261, sched_getaffinity 204 123, getpgid 121 155, getsid 124 156
"""
"""Calls that are allowed if their arguments pass `_checks`."""
MISSING = "clone3 435 435, openat2 437 437, memfd_create 319 279"
"""Calls that fail with `ENOSYS`, so that libraries use an older call whose arguments can be checked."""
NEWEST = 469
"""The highest number that this list covers (`file_setattr`, Linux 6.17). Higher numbers fail with `ENOSYS`."""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine -> (the column of its numbers, its identifier in seccomp)."""
_WORD = 0xFFFFFFFF
_LOAD, _AND, _EQUAL, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in `struct seccomp_data`
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2

Check = tuple[int, int, tuple[int, ...]]
"""The offset of a 32-bit word in `struct seccomp_data`, a mask, and the accepted values under the mask."""


def give_up_calls() -> bool:
    """Limits this thread, and all threads and processes that it starts, to the calls above. Returns false if the
    system does not support it."""
    if os.uname().machine not in _ARCHITECTURES:
        return False
    column, architecture = _ARCHITECTURES[os.uname().machine]
    instructions = _filter(column, architecture, os.getpid())
    program = ctypes.create_string_buffer(b"".join(instructions))
    given = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.prctl(_SET_SECCOMP, _FILTER_MODE, given, 0, 0) == 0)


def numbers(table: str, column: int) -> dict[str, int]:
    """Returns name -> number of the calls in a table that exist on the machine of `column`."""
    rows = (entry.split() for entry in table.split(","))
    return {row[0]: int(row[1 + column]) for row in rows if row[1 + column] != "-"}


def _checks(process: int) -> dict[str, list[Check]]:
    """The conditions for each call of `CHECKED`. A call is allowed if all of its conditions hold."""
    own: list[Check] = [_argument(0, process)]
    own_or_zero: list[Check] = [_argument(0, 0, process)]  # zero is the caller
    # Truncation requires a write mode. Landlock checks truncation only from version 3 on, and never access mode 3.
    access = (0, 1, 2, os.O_TRUNC | 1, os.O_TRUNC | 2)
    return {
        "open": [_argument(1, *access, mask=os.O_TRUNC | 3)],
        "openat": [_argument(2, *access, mask=os.O_TRUNC | 3)],
        # A pair of streams cannot be connected to another address; datagram sockets can.
        "socketpair": [_argument(0, 1), _argument(1, 1, mask=_WORD & ~(os.O_CLOEXEC | os.O_NONBLOCK)), _argument(2, 0)],
        "sendto": [_argument(4, 0), (_ARGUMENTS + 4 * 8 + 4, _WORD, (0,))],  # no address, in 64 bits
        "getsockopt": [_argument(1, 1), _argument(2, 3, 4, 38, 39)],  # SO_TYPE, SO_ERROR, SO_PROTOCOL, SO_DOMAIN
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, locks, F_DUPFD_CLOEXEC; no F_SETOWN, F_SETSIG, F_NOTIFY
        "fcntl": [_argument(1, 0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)],
        # TCGETS, TCGETS2 (`isatty`), TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; no FIOSETOWN, TIOCSTI
        "ioctl": [_argument(1, 0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)],
        "prctl": [_argument(0, 15, 16, 0x53564D41)],  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA; no PR_SET_PDEATHSIG
        "clone": [_argument(0, 0x3D0F00, 0x7D0F00)],  # the flags of a thread, in glibc and in musl
        "kill": own,
        "tgkill": own,
        "prlimit64": own_or_zero,
        "sched_getaffinity": own_or_zero,
        "getpgid": own_or_zero,
        "getsid": own_or_zero,
    }


def _argument(position: int, *values: int, mask: int = _WORD) -> Check:
    return (_ARGUMENTS + 8 * position, mask, values)


def _filter(column: int, architecture: int, process: int) -> list[bytes]:
    """The classic BPF program that allows or refuses each system call."""
    allow = [_instruction(_RETURN, _ALLOW)]
    missing = [_instruction(_RETURN, _ERROR | errno.ENOSYS)]
    refuse = _instruction(_RETURN, _ERROR | errno.EPERM)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_GREATER, NEWEST, 0, 1),
        *missing,
    ]
    for number in numbers(ALLOWED, column).values():
        program += _when(number, allow)
    checks = _checks(process)
    for name, number in numbers(CHECKED, column).items():
        program += _when(number, [*[part for check in checks[name] for part in _judge(check, refuse)], *allow])
    for number in numbers(MISSING, column).values():
        program += _when(number, missing)
    return [*program, refuse]


def _judge(check: Check, refuse: bytes) -> list[bytes]:
    """Instructions that continue if the check holds and refuse the call otherwise."""
    offset, mask, values = check
    jumps = [_instruction(_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [_instruction(_LOAD, offset), _instruction(_AND, mask), *jumps, refuse]


def _when(number: int, then: list[bytes]) -> list[bytes]:
    return [_instruction(_EQUAL, number, 0, len(then)), *then]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)

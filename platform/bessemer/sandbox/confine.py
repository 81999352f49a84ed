"""What a process gives up for good, on Linux, without being root: system calls (seccomp) and files (Landlock).

seccomp answers the calls below with `EPERM`. Landlock (Linux 5.13) leaves a process the folders it names. Both hold
whatever the program does later, and for what it would start. Constants are from the kernel's headers: linux/seccomp.h,
linux/filter.h, linux/landlock.h, asm/unistd.h.

Only the standard library is imported, and little of it: this is loaded before every program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence

_DENIED = """
execve 59 221, execveat 322 281, fork 57 -, vfork 58 -,
socket 41 198, io_uring_setup 425 425,
tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424,
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440,
sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118, sched_setattr 314 274,
setpriority 141 140, ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239,
shmget 29 194, semget 64 190, msgget 68 186, mq_open 240 180, memfd_create 319 279, memfd_secret 447 447,
chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
add_key 248 217, request_key 249 218, keyctl 250 219, bpf 321 280, userfaultfd 323 282, perf_event_open 298 241,
unshare 272 97, setns 308 268
"""
"""Calls that are refused, with their numbers on x86-64 and ARM: new programs, the network, other processes, memory that
outlives the process, permissions and times of files (which Landlock leaves alone), and doors into the kernel."""
_OWN_PROCESS_ONLY, _LIMITS = "kill 62 129, tgkill 234 131", "prlimit64 302 261"
"""Calls that are refused unless their first argument is the process itself."""
_CLONE, _CLONE3, _CLONE_THREAD = "clone 56 220", "clone3 435 435", 0x10000
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By machine: the column of its numbers, and its name in seccomp."""

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # where they stand in `struct seccomp_data`
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SET_PARENT_DEATH_SIGNAL = 38, 22, 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _CAPSET = 444, 445, 446, (126, 91)
_READ_FILE, _READ_FOLDER, _FILE_RIGHTS = 1 << 2, 1 << 3, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, 9, 0, 0, 0)


def give_up_calls() -> bool:
    """Gives up privileges, processes, the network and what reaches other processes; false where it cannot be had."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        return False
    column, architecture = _ARCHITECTURES[machine]
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", 0x20080522, 0)
    libc.syscall(_CAPSET[column], header, bytes(24))  # no capabilities; refused to none
    filters = _filters(column, architecture, os.getpid())
    program = ctypes.create_string_buffer(b"".join(filters))
    given = struct.pack("HxxxxxxP", len(filters), ctypes.addressof(program))
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.prctl(_SET_SECCOMP, 2, given, 0, 0) == 0)


def give_up_files(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """Gives up all files but those below some paths; false where the kernel has no Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << (13 + (version >= 2) + (version >= 3))) - 1  # renaming across folders came second, truncating third
    handled = struct.pack("Q", rights)
    rules = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    for paths, allowed in ((readable, _READ_FILE | _READ_FOLDER), (writable, rights)):
        for path in filter(os.path.exists, paths):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            mask = allowed if stat.S_ISDIR(os.fstat(place).st_mode) else allowed & _FILE_RIGHTS
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", mask, place), 0)
            os.close(place)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    restricted = libc.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return bool(restricted == 0)


def _filters(column: int, architecture: int, process: int) -> list[bytes]:
    """The classic BPF program that judges every system call."""
    refuse = _filter(_RETURN, _REFUSE | errno.EPERM)
    allow = _filter(_RETURN, _ALLOW)
    program = [
        _filter(_LOAD, _ARCHITECTURE),
        _filter(_JUMP_EQUAL, architecture, 1, 0),
        _filter(_RETURN, _KILL),
        _filter(_LOAD, _NUMBER),
        _filter(_JUMP_GREATER_EQUAL, _X32, 0, 1),
        refuse,
        # the C library then starts threads with `clone`, whose flags can be read
        *_when(_numbers(_CLONE3, column)[0], [_filter(_RETURN, _REFUSE | errno.ENOSYS)]),
        *_when(
            _numbers(_CLONE, column)[0],
            [_filter(_LOAD, _FIRST_ARGUMENT), _filter(_JUMP_BITS, _CLONE_THREAD, 1, 0), refuse, allow],
        ),
    ]
    itself = [_filter(_LOAD, _FIRST_ARGUMENT), _filter(_JUMP_EQUAL, process, 1, 0), refuse, allow]
    for number in _numbers(_OWN_PROCESS_ONLY, column):
        program += _when(number, itself)
    limits = [_filter(_LOAD, _FIRST_ARGUMENT), _filter(_JUMP_EQUAL, process, 2, 0), _filter(_JUMP_EQUAL, 0, 1, 0)]
    program += _when(_numbers(_LIMITS, column)[0], [*limits, refuse, allow])  # 0 stands for itself
    for number in _numbers(_DENIED, column):
        program += _when(number, [refuse])
    return [*program, allow]


def _when(number: int, then: list[bytes]) -> list[bytes]:
    return [_filter(_JUMP_EQUAL, number, 0, len(then)), *then]


def _filter(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _numbers(table: str, column: int) -> list[int]:
    rows = (entry.split() for entry in table.split(","))
    return [int(row[1 + column]) for row in rows if row[1 + column] != "-"]

"""Permanently drops a process's capabilities and its access to files (Landlock), on Linux and without root.

Landlock (Linux 5.13) limits a process to the folders that it names. Version 4 (Linux 6.7) also refuses TCP, and version
6 (Linux 6.12) signals to processes outside and abstract sockets. The process cannot undo the limits.
Constants are from linux/landlock.h and linux/capability.h.

The module imports little of the standard library and nothing else, because it is loaded before every program.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

TYPE_CHECKING = False  # `typing` and `collections.abc` take milliseconds to load
if TYPE_CHECKING:
    from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
_CAPABILITY_VERSION = 0x20080522
_SET_NO_NEW_PRIVILEGES = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_DEVICES_AND_SOCKETS = 1 << 6 | 1 << 9 | 1 << 11  # MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK
_TRUNCATE, _CONTROL_DEVICE = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP, _SIGNALS_AND_ABSTRACT_SOCKETS = 0b11, 0b11


def give_up_capabilities() -> None:
    """Gives up all capabilities, so that root is limited like other users."""
    if os.uname().machine in _CAPSET:
        header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
        ctypes.CDLL(None).syscall(_CAPSET[os.uname().machine], header, bytes(24))  # refused to none


def give_up_files(readable: Sequence[str], writable: Sequence[str]) -> int:
    """Gives up all files except those below the given paths, and all other rights that Landlock can refuse.

    Returns Landlock's version, or 0 if the kernel has none.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    # Version 2 added renaming across folders, 3 truncation, 5 the control of devices.
    rights = (1 << (13 + (version >= 2) + (version >= 3))) - 1 | (_CONTROL_DEVICE if version >= 5 else 0)
    handled = [rights, *([_TCP] if version >= 4 else []), *([_SIGNALS_AND_ABSTRACT_SOCKETS] if version >= 6 else [])]
    attributes = struct.pack(f"{len(handled)}Q", *handled)
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    own = rights & ~(_EXECUTE | _MAKE_DEVICES_AND_SOCKETS | _CONTROL_DEVICE)
    for paths, allowed in ((readable, _READ_FILE | _READ_FOLDER), (writable, own)):
        for path in filter(os.path.exists, paths):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            mask = allowed if stat.S_ISDIR(os.fstat(place).st_mode) else allowed & _FILE_RIGHTS
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", mask, place), 0)
            os.close(place)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    restricted = libc.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return version if restricted == 0 else 0

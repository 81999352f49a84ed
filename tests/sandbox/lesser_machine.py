"""Runs code as if on a machine that lacks a barrier of the sandbox, by a seccomp filter that refuses system calls."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

COLUMN = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine)
_CALLS = {"namespaces": (272, 97), "landlock": (444, 444), "seccomp": (157, 167)}
"""The call of each barrier: `unshare`, `landlock_create_ruleset`, and `prctl` with PR_SET_SECCOMP."""
_SET_SECCOMP = 22


def run_without(barriers: list[str], code: str) -> str:
    """The output of Python `code` in a process, and the processes it starts, without some barriers."""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import lesser_machine"
    start += f"; lesser_machine.lose({barriers!r})\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], check=True, capture_output=True, text=True, timeout=250
    ).stdout


def lose(barriers: list[str]) -> None:
    """Refuses the system calls of some barriers to this process, for good; seccomp is lost last."""
    assert COLUMN is not None
    program = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number
    for barrier in barriers:
        body = [struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | errno.EPERM)]
        if barrier == "seccomp":
            body = [struct.pack("HBBI", 0x20, 0, 0, 16), struct.pack("HBBI", 0x15, 0, 1, _SET_SECCOMP), *body]
            body += [struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)]
        program += [struct.pack("HBBI", 0x15, 0, len(body), _CALLS[barrier][COLUMN]), *body]
    program += [struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.prctl(_SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)), 0, 0) == 0

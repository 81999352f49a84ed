"""Measures, once per process, the sandbox's protection on this machine: a program tries to break out.

    unprotected()   ()                        everything is protected
                    ("network", "files")      a program reached these

The package's docstring lists the barriers and their effects.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bessemer.sandbox.run import Program, ProgramLimits, run_with_barriers

KINDS = ("network", "processes", "files")

_PROBE = """
import fcntl, os, socket

FILE, SOCKET, PORT, PROCESS = {target!r}

def reaches(kind, attempt):
    try:
        attempt()
    except (OSError, AttributeError):
        return
    print(kind)

def tcp():
    socket.create_connection(("127.0.0.1", PORT), 1).close()

def unix():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)

def datagram():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].connect(SOCKET + "-datagram")

def fork():
    if os.fork() == 0:
        os._exit(0)

def own():
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, PROCESS)

reaches("network", tcp)
reaches("network", unix)
reaches("network", datagram)
reaches("processes", fork)
reaches("processes", lambda: os.kill(PROCESS, 0))
reaches("processes", own)
reaches("files", lambda: open(FILE).close())
reaches("files", lambda: open(FILE, "a").close())
reaches("files", lambda: os.truncate(FILE, 0))
reaches("files", lambda: os.chmod(FILE, 0o600))
reaches("files", lambda: os.utime(FILE))
reaches("files", lambda: os.setxattr(FILE, "user.bessemer", b""))
reaches("files", lambda: os.unlink(FILE))
"""


@dataclass(frozen=True)
class Protection:
    """The result of the measurement."""

    barriers: tuple[str, ...]
    """The barriers that hold, out of `namespaces`, `landlock:VERSION` and `seccomp`."""
    unprotected: tuple[str, ...]
    """The members of `KINDS` that a program can reach."""

    def describe(self) -> str:
        """`network, processes and files are out of reach (namespaces, landlock:7, seccomp)`."""
        by = f" ({', '.join(self.barriers)})" if self.barriers else ""
        if self.unprotected:
            return f"programs reach {_listed(self.unprotected)}{by}"
        return f"{_listed(KINDS)} are out of reach{by}"


def unprotected() -> tuple[str, ...]:
    """The members of `KINDS` that a program can reach on this machine. Empty on a recent Linux."""
    return measure().unprotected


def warn_if_unprotected(log: logging.Logger) -> None:
    """Logs a warning if programs of a model can reach parts of this machine."""
    if reached := unprotected():
        log.warning(
            "the sandbox on this machine does not protect %s from the programs that the model writes; "
            "run this stage in a virtual machine, or see `bessemer doctor`",
            _listed(reached),
        )


@cache
def measure() -> Protection:
    """Runs a program that tries to reach a file, a port, a socket and a process of this one."""
    with tempfile.TemporaryDirectory(prefix="bessemer-probe-") as folder, closing(socket.socket()) as tcp:
        file, unix = Path(folder) / "file", Path(folder) / "socket"
        file.write_text("probe")
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        with (
            closing(socket.socket(socket.AF_UNIX)) as stream,
            closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as datagram,
        ):
            stream.bind(str(unix))
            stream.listen()
            datagram.bind(f"{unix}-datagram")
            target = (str(file), str(unix), tcp.getsockname()[1], os.getpid())
            outcome, barriers = run_with_barriers(Program(_PROBE.format(target=target)), ProgramLimits(wall_seconds=60))
    assert outcome.passed, outcome
    reached = outcome.stdout.split()
    return Protection(barriers, tuple(kind for kind in KINDS if kind in reached))


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))

"""The outside of the sandbox: starts a process for a program, waits no longer than allowed, and kills all that is left.

Standard input, output and error are files, so a program can neither block its reader nor be blocked by it; the limit on
file size ends one that prints without end. Measured on two cores: 12 ms a program, half of it the interpreter's start;
6.5 ms each with two side by side.
"""

from __future__ import annotations

import marshal
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal, cast

Status = Literal["finished", "exited", "error", "timeout", "memory", "killed"]
"""`finished`: ran to its last line. `exited`: left before it, by `sys.exit` and the like, whatever the exit code.
`error`: raised an exception. `timeout`: out of processor time or time. `memory`: out of memory. `killed`: by a signal.
"""

_PACKAGE_FOLDER = str(Path(__file__).parents[2])
_START = "import sys; sys.path.insert(0, {0!r}); from bessemer.sandbox.inside import main; del sys.path[0]; main({1})"
_FLAGS = ("-s", "-S", "-P", "-B")  # not -I, for it would ignore the seed of hashes, and sets change their order with it
_LONGEST_REPORT = 1 << 13


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    cpu_seconds: int = 5
    """Processor time; the same on a busy machine."""
    wall_seconds: float = 15.0
    """Time from start to end, which also ends a program that sleeps."""
    memory_bytes: int = 512 * 2**20
    """Address space, the interpreter's 20 MiB included."""
    file_bytes: int = 16 * 2**20
    """Size of each file it writes; standard output is one."""
    open_files: int = 64
    output_bytes: int = 64 * 2**10
    """How much of standard output and error is kept, each."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Program:
    """A program's text and its standard input."""

    text: str
    stdin: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `detail` is the last line of a traceback, or the signal that killed it."""

    status: Status
    detail: str
    stdout: str
    stderr: str

    @property
    def passed(self) -> bool:
        """Whether the program ran to its last line without an exception, so that every assertion in it held."""
        return self.status == "finished"


def run_all(
    programs: Sequence[Program], limits: Limits = DEFAULT_LIMITS, *, num_workers: int | None = None
) -> list[Outcome]:
    """The outcomes of several programs, `num_workers` side by side (as many as there are processors by default)."""
    workers = num_workers or os.cpu_count() or 1
    with ThreadPoolExecutor(min(workers, max(len(programs), 1))) as pool:
        return list(pool.map(lambda program: run(program, limits), programs))


def run(program: Program, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """Runs one program to its end or to its limits."""
    return _run(program, limits)[0]


@cache
def unprotected() -> tuple[str, ...]:
    """What this machine cannot keep from a program: of `network`, `processes`, `files`; nothing on a recent Linux."""
    outcome, missing = _run(Program(""), DEFAULT_LIMITS)
    assert outcome.passed, outcome
    return missing


def _run(program: Program, limits: Limits) -> tuple[Outcome, tuple[str, ...]]:
    secret = secrets.token_hex(16)
    request = (secret, limits.cpu_seconds, limits.memory_bytes, limits.file_bytes, limits.open_files, program.text)
    with ExitStack() as open_until_the_end:
        stdin, stdout, stderr = (open_until_the_end.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        stdin.write(program.stdin.encode(errors="replace"))
        stdin.seek(0)
        folder = tempfile.mkdtemp(prefix="bessemer-sandbox-")
        open_until_the_end.callback(_remove, folder)
        ours, theirs = socket.socketpair()
        open_until_the_end.enter_context(ours)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _START.format(_PACKAGE_FOLDER, theirs.fileno())],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "HOME": folder, "TMPDIR": folder},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        open_until_the_end.callback(_end, process)
        deadline = time.monotonic() + limits.wall_seconds
        report = _exchange(ours, marshal.dumps(request), deadline)
        status, detail, missing = _judge(process, report, secret, deadline)
        output, errors = (_beginning(file, limits.output_bytes) for file in (stdout, stderr))
    return Outcome(status, detail, output, errors), missing


def _exchange(ours: socket.socket, request: bytes, deadline: float) -> bytes:
    """Sends the request and reads the report: all of it, or what came before the deadline or the process's end."""
    report = b""
    with suppress(OSError):  # the process is gone, or the time is up
        ours.settimeout(max(deadline - time.monotonic(), 0.001))
        ours.sendall(request)
        ours.shutdown(socket.SHUT_WR)
        while len(report) < _LONGEST_REPORT:
            ours.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (part := ours.recv(_LONGEST_REPORT)):
                break
            report += part
    return report


def _judge(
    process: subprocess.Popen[bytes], report: bytes, secret: str, deadline: float
) -> tuple[Status, str, tuple[str, ...]]:
    """The verdict, by the report if it is genuine, else by how the process ended, which it then has."""
    parts = report.decode(errors="replace").split("\0", 3)
    genuine = len(parts) == 4 and secrets.compare_digest(parts[0].encode(), secret.encode())
    code = None
    with suppress(subprocess.TimeoutExpired):
        code = None if genuine else process.wait(max(deadline - time.monotonic(), 0))
    _end(process)
    if genuine:
        return cast(Status, parts[1]), parts[3], tuple(parts[2].split())
    if code is None or code == -signal.SIGXCPU:
        return "timeout", "", ()
    if code < 0:
        return "killed", signal.strsignal(-code) or f"signal {-code}", ()
    return "exited", f"exit code {code}", ()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:  # else its number may be another's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _beginning(file: IO[bytes], count: int) -> str:
    file.seek(0)
    return file.read(count).decode(errors="replace")


def _remove(folder: str) -> None:
    """Removes a folder, also one with locked or endlessly nested folders in it."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", folder], check=False, stderr=subprocess.DEVNULL)

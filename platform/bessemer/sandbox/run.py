"""The outside of the sandbox: starts a process for a program, waits until the time limit, and kills what is left of it.

Standard input, output and error are files, so a program and its reader cannot block each other. The limit on file size
ends a program that prints without end. A program costs about 27 ms of processor time, including 12 ms to start the
interpreter (measured on two busy cores; an idle machine takes less than half).
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
from pathlib import Path
from typing import IO, Literal, cast

from bessemer.sandbox import inside

Status = Literal["finished", "exited", "error", "timeout", "memory", "killed"]
"""`finished`: ran to its last line. `exited`: ended earlier, for example by `sys.exit`, with any exit code. `error`:
raised an exception. `timeout`: exceeded its processor time or its wall time. `memory`: ran out of memory. `killed`: was
killed by a signal.
"""

_PACKAGE_FOLDER = str(Path(__file__).parents[2])
_START = "import sys; sys.path.insert(0, {!r}); from {} import main; del sys.path[0]; main({}, {})"
_FLAGS = ("-s", "-S", "-P", "-B")  # not -I: it ignores PYTHONHASHSEED, which fixes the order of sets
_LONGEST_REPORT = 1 << 13
_END_SECONDS = 2.0
"""Time that the supervising process has to end the program's namespaces."""


@dataclass(frozen=True)
class ProgramLimits:
    """The resources that one program may use."""

    cpu_seconds: int = 5
    """Processor time, which does not depend on the load of the machine."""
    wall_seconds: float = 15.0
    """Wall time from start to end. The limit also ends a program that sleeps."""
    memory_bytes: int = 512 * 2**20
    """Address space, including 20 MiB for the interpreter."""
    file_bytes: int = 16 * 2**20
    """Size of each file that the program writes, standard output included."""
    open_files: int = 64
    output_bytes: int = 64 * 2**10
    """Number of bytes kept of standard output and of standard error."""


DEFAULT_LIMITS = ProgramLimits()


@dataclass(frozen=True)
class Program:
    """A program's text and its standard input."""

    text: str
    stdin: str = ""


@dataclass(frozen=True)
class ProgramOutcome:
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
    programs: Sequence[Program], limits: ProgramLimits = DEFAULT_LIMITS, *, num_workers: int | None = None
) -> list[ProgramOutcome]:
    """Runs several programs, `num_workers` in parallel (by default one per processor), and returns their outcomes."""
    workers = num_workers or os.cpu_count() or 1
    with ThreadPoolExecutor(min(workers, max(len(programs), 1))) as pool:
        return list(pool.map(lambda program: run(program, limits), programs))


def run(program: Program, limits: ProgramLimits = DEFAULT_LIMITS) -> ProgramOutcome:
    """Runs one program to its end or to its limits."""
    return run_with_barriers(program, limits)[0]


def run_with_barriers(
    program: Program, limits: ProgramLimits = DEFAULT_LIMITS
) -> tuple[ProgramOutcome, tuple[str, ...]]:
    """Returns the outcome and the barriers that held, out of `namespaces`, `landlock:VERSION` and `seccomp`.

    The barriers are known only if the program reached its end or raised an exception.
    """
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
                [
                    sys.executable,
                    *_FLAGS,
                    "-c",
                    _START.format(_PACKAGE_FOLDER, inside.__name__, theirs.fileno(), os.getpid()),
                ],
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
        status, detail, barriers = _judge(process, report, secret, deadline)
        output, errors = (_beginning(file, limits.output_bytes) for file in (stdout, stderr))
    return ProgramOutcome(status, detail, output, errors), barriers


def _exchange(ours: socket.socket, request: bytes, deadline: float) -> bytes:
    """Sends the request and reads the report. The report is cut off at the deadline or at the end of the process."""
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
    """Returns (status, detail, barriers) from the report if it has the secret, otherwise from the exit status."""
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
    """Ends the process, its namespaces and its group."""
    if process.returncode is None:  # otherwise another process may have its number
        if sys.platform == "linux":
            os.kill(process.pid, signal.SIGTERM)  # `Popen.terminate` could reap the process
            deadline = time.monotonic() + _END_SECONDS
            while not _has_ended(process) and time.monotonic() < deadline:
                time.sleep(0.001)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended. It is not reaped, so no other process can get its number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _beginning(file: IO[bytes], count: int) -> str:
    file.seek(0)
    return file.read(count).decode(errors="replace")


def _remove(folder: str) -> None:
    """Removes a folder, even if it contains locked or very deeply nested folders."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", folder], check=False, stderr=subprocess.DEVNULL)

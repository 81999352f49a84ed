"""Runs untrusted code, or compiled code on untrusted input, in a child process that can be killed.

A parser that crashes or computes for hours cannot be stopped inside its own process. Here each call has a limited CPU
time (`RLIMIT_CPU`), at which the operating system ends the child. The limit does not depend on the load of the machine.
Code that may also wait, for example for a network, has a limit on the elapsed time instead. A call may have limited
memory (`RLIMIT_AS`), beyond which Python raises MemoryError or the child ends. Starting a child takes about 0.1 s plus
the imports of the first call; a call takes about 0.2 ms.

Functions, arguments and results are pickled, so they must be importable. What the child prints goes to standard error,
because standard output is reserved for the data of a command. Ctrl-C and other stop signals reach every
process of a group, but only the parent handles them. The child blocks them from its first instruction on, so if the
child dies, its input is the cause.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_CODE = """
import os, sys
os.dup2(2, 1)
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
sys.path[:] = pipe.recv()
from bessemer.child_process import serve
serve(pipe)
"""
_CLOSING_SECONDS = 5.0
_REQUESTS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
"""Signals that ask a process to stop."""


class ChildEnded(Exception):
    """The child process ended during a call; the message says how."""


class OutOfTime(ChildEnded):
    """The call used more time than its limit."""


class ChildProcess:
    """Calls functions in a child process. It starts at the first call and is restarted after it ends. Thread-safe.

    >>> with ChildProcess(cpu_seconds=10) as child:
    ...     links = child.call(find_links, page)
    """

    def __init__(
        self, *, cpu_seconds: float | None = None, seconds: float | None = None, memory_bytes: int | None = None
    ) -> None:
        self.cpu_seconds = cpu_seconds
        """Maximum CPU time of one call, rounded up to whole seconds; None for no limit."""
        self.seconds = seconds
        """Maximum elapsed time of one call; None for no limit."""
        self.memory_bytes = memory_bytes
        """Maximum size of the child's address space during a call; None for no limit."""
        self._calling = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the function. Raises its exceptions, OutOfTime, MemoryError, or ChildEnded."""
        with self._calling:
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._pipe is not None
            request = pickle.dumps((function, args, kwargs, self.cpu_seconds, self.memory_bytes))
            try:
                self._pipe.send_bytes(request)
                answer = self._pipe.recv_bytes() if self._pipe.poll(self.seconds) else None
            except (EOFError, OSError):
                raise self._ended() from None
            except BaseException:  # a signal handler raised: the next call must not receive the answer of this one
                self._process.kill()
                self._end()
                raise
            if answer is None:
                self._process.kill()
                self._end()
                raise OutOfTime(f"it did not answer within {self.seconds:g} seconds")
        is_result, value = pickle.loads(answer)
        if is_result:
            return cast("R", value)
        raise value

    def kill(self) -> None:
        """Ends the child at once. A call in progress raises ChildEnded."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the child after the call in progress."""
        with self._calling:
            if self._process is not None:
                self._end()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: import nothing from the working folder
            command = [sys.executable, "-P", "-c", _CODE, str(theirs.fileno())]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)  # of this thread; the child inherits it
            try:
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._pipe = Connection(ours.detach())
        self._pipe.send(sys.path)

    def _end(self) -> int:
        """Closes the pipe, which ends the child; kills it if it lives on. Returns its exit code."""
        assert self._process is not None
        if self._pipe is not None:
            self._pipe.close()
        try:
            code = self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = self._pipe = None
        return code

    def _ended(self) -> ChildEnded:
        code = self._end()
        if code == -signal.SIGXCPU:
            return OutOfTime(f"more than {self.cpu_seconds:g} s of CPU time")
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ChildEnded(f"its process {how}")


def serve(pipe: Connection[Any, Any]) -> None:
    """The loop of the child: receives calls and sends results, until the parent closes the pipe or dies."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, args, kwargs, cpu_seconds, memory_bytes = pipe.recv()
            _limit(cpu_seconds, memory_bytes)
            try:
                answer = pickle.dumps((True, function(*args, **kwargs)))
            except Exception as error:  # noqa: BLE001 - raised again in the parent
                answer = _pickled(error)
            _limit(None, None)
            pipe.send_bytes(answer)


def _limit(cpu_seconds: float | None, memory_bytes: int | None) -> None:
    """Lets the process use `cpu_seconds` more CPU time and `memory_bytes` of address space; None for any."""
    _set_limit(resource.RLIMIT_CPU, None if cpu_seconds is None else math.ceil(time.process_time() + cpu_seconds))
    _set_limit(resource.RLIMIT_AS, memory_bytes)


def _set_limit(kind: int, wanted: int | None) -> None:
    """Sets a soft limit, at most the hard one; None for the hard limit."""
    _, hard = resource.getrlimit(kind)
    soft = hard if wanted is None else wanted
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(kind, (soft, hard))


def _pickled(error: Exception) -> bytes:
    """The pickled answer of a failed call. An exception that cannot be unpickled becomes a RuntimeError."""
    try:
        content = pickle.dumps((False, error))
        pickle.loads(content)
    except Exception:  # noqa: BLE001 - of a foreign class
        content = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return content

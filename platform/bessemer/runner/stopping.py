"""Stops a run in an orderly way after Ctrl-C, SIGTERM or `bessemer stop`.

The first signal is a request. Stages check for it between units of work, a trainer saves a checkpoint, and the run ends
within the three seconds that Ray grants a job. A stage that does not react within `GRACE_SECONDS` is interrupted. This
is safe too; only its current unit of work is repeated. A second Ctrl-C interrupts immediately.

`Request.fail` interrupts the run with an error from any thread, for example if a system process of Ray dies.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bessemer.errors import BessemerError, Stopped

GRACE_SECONDS = 2.0


class Request(threading.Event):
    """An event that is set when the run is asked to stop."""

    error: BessemerError | None = None
    """The error that interrupts the run, if it was not asked to stop by a user."""
    interruptible = False
    """Whether the main thread has the signal handlers of `graceful`."""

    def fail(self, error: BessemerError) -> None:
        """Interrupts the main thread with `error`."""
        self.error = self.error or error
        if self.interruptible:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)


@contextlib.contextmanager
def graceful(stop_file: Path, grace_seconds: float = GRACE_SECONDS) -> Iterator[Request]:
    """Yields the request that a signal sets, and restores the signal handlers afterwards. Main thread only.

    A signal also creates `stop_file`. After `grace_seconds`, Stopped is raised in the main thread.
    """
    asked = Request()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asked.error is not None:
            raise asked.error
        raise Stopped("stopped as asked", hint="run the same command again to continue")

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            interrupt(number, frame)
        asked.set()
        with contextlib.suppress(OSError):
            stop_file.touch()
        signal.setitimer(signal.ITIMER_REAL, grace_seconds)

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGALRM: interrupt}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    asked.interruptible = True
    try:
        yield asked
    finally:
        asked.interruptible = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)

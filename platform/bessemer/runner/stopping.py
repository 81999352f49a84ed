"""Stopping in good order: Ctrl-C, SIGTERM, `bessemer stop`.

The first signal asks: stages look between units of work, a trainer saves a checkpoint, and the run ends within the
three seconds that Ray grants a job. Whoever has not looked after `GRACE_SECONDS` is interrupted where it stands; that
is safe too, only the unit in hand is done again. A second Ctrl-C does not wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bessemer.errors import Stopped

GRACE_SECONDS = 2.0


@contextlib.contextmanager
def graceful(stop_file: Path, grace_seconds: float = GRACE_SECONDS) -> Iterator[threading.Event]:
    """Yields the event that a signal sets; restores the handlers afterwards. Main thread only.

    A signal also creates `stop_file`. `grace_seconds` later the main thread is interrupted by Stopped.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
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
    try:
        yield asked
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)

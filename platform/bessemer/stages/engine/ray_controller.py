"""Ends Ray Train's controller, the process that starts the training workers, without a deadlock.

Ray lets the controller's process exit normally. `exit` runs C++ destructors, which sometimes wait for a lock that they
already hold (boost's `scheduler::shutdown` destroys a Publisher, which posts to that scheduler). The process then never
ends and keeps 400 MB of memory after Ray has shut down. At that point only buffered output remains to be written.
The controller therefore flushes its output and exits without running the destructors.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback


class LeavesAtOnce(ControllerCallback):  # type: ignore[misc]
    """Ends the controller's process when Python exits, before the C++ destructors run."""

    def after_controller_start(self, train_run_context: Any) -> None:
        atexit.register(leave)


def leave() -> None:
    """Flushes the logs and the standard streams, then ends the process without any other cleanup."""
    try:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(0)

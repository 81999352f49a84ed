"""The end of Ray Train's controller, the process that starts the training workers.

Ray ends it by leaving it to itself, and its C++ destructors, run by `exit`, now and then wait for a lock that they hold
(boost's `scheduler::shutdown` destroys a Publisher, which posts to that scheduler). The process then stays for ever,
with 400 MB, after Ray itself has gone. By then there is nothing left to do but to write what is buffered, so it leaves
without destructors.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback


class LeavesAtOnce(ControllerCallback):  # type: ignore[misc]
    """Lets the controller's process end where Python does."""

    def after_controller_start(self, train_run_context: Any) -> None:
        atexit.register(leave)


def leave() -> None:
    """Ends the process with its logs and streams written, and nothing else."""
    try:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(0)

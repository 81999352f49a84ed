"""Starts Ray for this machine only: bound to the loopback interface, monitored, and ended together with this process.

**Interfaces.** Ray's servers listen on every interface, unless the node's address is 127.0.0.1, which Ray replaces by
an outer address. It keeps 127.0.0.1 if `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER` is 0, as it is on macOS (Ray 2.60,
https://github.com/ray-project/ray/issues/18730).

**Signals.** `ray.init` runs in a thread. In the main thread it would replace the handler of SIGTERM, and it would
swallow the exception of a second Ctrl-C.

**Processes.** The kernel kills Ray's system processes when the thread that started them ends. So that thread waits
until Ray is stopped, and the system processes also end if the driver is killed. Workers end after the raylet.

**Deaths.** If the GCS or the raylet dies, Ray waits up to a minute and then ends the driver without a Python exception.
Here a thread checks every quarter of a second and interrupts the run, so the run can record its error. The raylet's
agents report its death to the GCS (Ray 2.60, `process_watcher.py`). Without a GCS they would live for another minute,
so they are killed too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import psutil

from bessemer.errors import ClusterUnreachable, RayDied, Stopped

_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_WATCHED = {"gcs_server": "GCS", "raylet": "raylet"}
_WATCH_SECONDS = 0.25


class LocalRay:
    """Ray for this process. `on_death` is called from another thread if a system process dies before `stop`."""

    def __init__(self, options: dict[str, Any], on_death: Callable[[RayDied], None]) -> None:
        self._options = options
        self._on_death = on_death
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._variables = _loopback_variables()
        self._agents: list[psutil.Process] = []
        """The processes that the raylet started before `ray.init` returned."""
        self._replaced: dict[str, str | None] = {}

    def start(self) -> None:
        """Starts Ray and returns when it is ready.

        Raises ClusterUnreachable if Ray does not start. If a signal handler raises Stopped, the start ends immediately.
        """
        from ray._private import ray_constants

        self._replaced = {name: os.environ.get(name) for name in self._variables}
        os.environ |= self._variables
        ray_constants.ENABLE_RAY_CLUSTER = False  # `ray` may have been imported before the variable was set
        ready: Future[None] = Future()
        threading.Thread(target=self._hold, args=(ready,), daemon=True, name="local-ray").start()
        try:
            while not ready.done():  # in short waits, between which Python runs the signal handlers
                wait([ready], timeout=0.1)
        except Stopped as stopped:
            stopped.abrupt = True  # the thread is still inside Ray
            _kill_started_processes()
            raise
        if error := ready.exception():
            self._restore_variables()
            raise _start_error(error) from error
        self._agents = _children_of_raylet()
        threading.Thread(target=self._watch, daemon=True, name="ray-watch").start()

    def death(self) -> RayDied | None:
        """The error for a system process that has died; None if all live."""
        from ray._private import worker

        processes = worker._global_node.all_processes if worker._global_node else {}
        for kind, name in _WATCHED.items():
            for found in processes.get(kind, []):
                if (code := found.process.poll()) is not None:
                    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                    return RayDied(
                        f"Ray's {name} died ({how})",
                        hint="everything finished so far is kept; `bessemer logs --stage ray` has Ray's messages",
                    )
        return None

    def stop(self) -> None:
        """Stops Ray; if one of its system processes died, kills the others, because Ray would wait for it."""
        import ray
        from ray._private import worker

        self._stopping.set()
        if self.death() and worker._global_node:
            worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
            for agent in self._agents:
                with contextlib.suppress(psutil.NoSuchProcess):
                    agent.kill()
        else:
            ray.shutdown()
        self._stopped.set()  # last, because the kernel then kills the raylet, for which Ray would end this process
        self._restore_variables()

    def _restore_variables(self) -> None:
        from ray._private import ray_constants

        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER = True

    def _hold(self, ready: Future[None]) -> None:
        import ray

        try:
            ray.init(address="local", **self._options)
        except BaseException as error:  # noqa: BLE001 - raised again by `start`
            ready.set_exception(error)
            return
        ready.set_result(None)
        self._stopped.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            if error := self.death():
                self._on_death(error)
                return


def _children_of_raylet() -> list[psutil.Process]:
    from ray._private import worker

    found: list[psutil.Process] = []
    for raylet in worker._global_node.all_processes.get("raylet", []):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(raylet.process.pid).children()
    return found


def _kill_started_processes() -> None:
    """Kills the child processes of an unfinished start, and their children. The dashboard's agent would wait 10 s.

    The thread inside Ray then fails; its message about that stays off the terminal.
    """
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.CRITICAL + 1)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _start_error(error: BaseException) -> BaseException:
    """The error for a failed `ray.init`. Ray raises a plain Exception, for example if a busy machine starts it too
    slowly."""
    if not isinstance(error, Exception):
        return error
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ClusterUnreachable(
        f"Ray does not start on this machine: {reason}",
        hint="run the same command again when the machine is less busy; `bessemer doctor` checks Ray, and "
        "`num_workers=0` runs the stages without it",
    )


def _loopback_variables() -> dict[str, str]:
    """Environment variables that bind Ray, and the communication of training workers, to the loopback interface."""
    variables = {_ONE_MACHINE: "0"}
    if sys.platform == "linux":
        variables |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return variables

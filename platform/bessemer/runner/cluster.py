"""The only place that starts Ray or attaches to a cluster.

Ray is started on this machine unless the recipe gives an address: never whatever cluster happens to be found. It starts
when the first stage asks for it, so a run whose stages are all reused, or that works with `num_workers: 0`, has no Ray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from bessemer import environment
from bessemer.errors import ClusterUnreachable
from bessemer.recipe.recipe import ClusterSettings

NO_PROGRESS_SECONDS = 600
CONNECT_SECONDS = 10.0
TOKEN_HINT = (
    "set RAY_AUTH_TOKEN to the cluster's token, or copy it to `~/.ray/auth_token`; "
    "`ray get-auth-token` prints it on the head node"
)
UNWATCHED = {
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""For a Ray of our own, on this machine alone and without a dashboard: what nobody would look at takes some per cent of
two cores from training."""


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Puts back the signal handlers that Ray replaces: its own ends the driver without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _attach(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Attaches to a running cluster. Raises ClusterUnreachable if it does not answer or refuses the token.

    Ray waits for minutes at a closed port, so the port is tried first.
    """
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise ClusterUnreachable(
                f"no Ray cluster answers at `{address}`: {error}",
                hint="check the address with `ray status --address ...`, or leave `cluster.address` unset",
            ) from None
    try:
        ray.init(address=address, **options)
    except ray.exceptions.AuthenticationError as error:
        raise ClusterUnreachable(
            f"the cluster at `{address}` asks for a token, and none is set", hint=TOKEN_HINT
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at `{address}`, or it refuses the token: {str(error).splitlines()[0]}",
            hint=f"check the address with `ray status --address ...`; {TOKEN_HINT}",
        ) from error


class Cluster:
    """Ray for one run: started once, on first use, and stopped at the end if it was started here."""

    def __init__(self, settings: ClusterSettings, *, dashboard: bool = False) -> None:
        self._settings = settings
        self._dashboard = dashboard
        self._lock = threading.Lock()
        self._ray: Any = None
        self._ours = False

    @property
    def started(self) -> bool:
        return self._ray is not None

    def start(self) -> Any:
        """The `ray` module, initialised. Raises ClusterUnreachable if the address does not answer."""
        with self._lock:
            if self._ray is None:
                with _handlers_kept():
                    self._ray = self._start()
        return self._ray

    def _start(self) -> Any:
        environment.prepare()
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        if not ray.is_initialized():
            if self._settings.address:
                _attach(ray, self._settings.address, quiet)
            else:
                if not self._dashboard:
                    for name, value in UNWATCHED.items():
                        os.environ.setdefault(name, value)
                ray.init(
                    address="local",
                    include_dashboard=self._dashboard,
                    object_store_memory=self._settings.object_store_bytes,
                    **quiet,
                )
                self._ours = True
        self._configure_data()
        return ray

    def _configure_data(self) -> None:
        from ray.data import DataContext

        for name in [name for name in logging.root.manager.loggerDict if name.startswith("ray")]:
            logging.getLogger(name).setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.use_datasource_v2 = False
        context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS  # a silent deadlock becomes an error

    def stop(self) -> None:
        """Stops Ray if it was started here."""
        if self._ours:
            self._ray.shutdown()
            self._ray, self._ours = None, False

"""The only place that starts Ray or attaches to a cluster.

Ray is started on this machine unless the recipe gives an address. A running cluster is never used without an address.
Ray starts when the first stage needs it. A run that reuses all stages, or has `num_workers: 0`, does not start Ray.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bessemer import environment
from bessemer.errors import ClusterUnreachable, RayDied, Stopped
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner.local_ray import LocalRay
from bessemer.stages.engine.training_workers import in_thread

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
"""Settings for a Ray that this process starts, on this machine only and without a dashboard. Nothing reads Ray's
metrics then, and collecting them would take some per cent of two cores from training."""


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
        if not address.startswith("ray://") and not os.environ.get("RAY_USE_TLS"):
            _refuse_wrong_token(address)
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


def _refuse_wrong_token(address: str) -> None:
    """Raises ClusterUnreachable if the GCS at `host:port` refuses the token. Ray itself tries 20 times in 20 seconds.

    Ray reports all other problems, because it has more information about the cluster (TLS, for example).
    """
    import grpc
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    token = current_token()
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetClusterId(
                gcs_service_pb2.GetClusterIdRequest(),
                timeout=CONNECT_SECONDS,
                metadata=[("authorization", f"Bearer {token}")] if token else [],
            )
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                why = "refuses the token" if token else "asks for a token, and none is set"
                raise ClusterUnreachable(f"the cluster at `{address}` {why}", hint=TOKEN_HINT) from None


def _send_messages_to_log() -> None:
    """Redirects messages that Ray prints on standard output, such as the last 20 log lines of a dead raylet (Ray 2.60).

    They go to the descriptor of standard error, which a run redirects to `logs/ray.txt`.
    """
    from ray._private import worker

    def write(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        os.write(2, "".join(f"{line}\n" for line in data["lines"]).encode(errors="backslashreplace"))

    worker.print_to_stdstream = write


def current_token(variables: Mapping[str, str] = os.environ) -> str | None:
    """The token that Ray's client would send, in Ray's order of precedence."""
    if variables.get("RAY_AUTH_MODE", "token").lower() == "disabled":
        return None
    if token := variables.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = variables.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


class Cluster:
    """Ray for one run. It starts once, on first use, and stops at the end if this process started it."""

    def __init__(self, settings: ClusterSettings, *, dashboard: bool = False) -> None:
        self._settings = settings
        self._dashboard = dashboard
        self._lock = threading.Lock()
        self._ray: Any = None
        self._local: LocalRay | None = None
        self.on_death: Callable[[RayDied], None] = lambda error: None
        """Called from another thread if this process started Ray and one of Ray's system processes dies."""

    @property
    def started(self) -> bool:
        return self._ray is not None

    def start(self) -> Any:
        """The `ray` module, initialised. Raises ClusterUnreachable if the address does not answer."""
        with self._lock:
            if self._ray is None:
                self._ray = self._start()
        return self._ray

    def death(self) -> RayDied | None:
        """The error for a dead system process of a Ray that this process started; None if all live."""
        return self._local.death() if self._local else None

    def _start(self) -> Any:
        environment.prepare()
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        if not ray.is_initialized():
            address = self._settings.address
            if address:
                try:  # in a thread, because Ray replaces the signal handlers of the main thread
                    in_thread(lambda: _attach(ray, address, quiet), lambda: None)
                except Stopped as error:
                    error.abrupt = True  # the thread is still inside Ray
                    raise
            else:
                if not self._dashboard:
                    for name, value in UNWATCHED.items():
                        os.environ.setdefault(name, value)
                options = {
                    "include_dashboard": self._dashboard,
                    "object_store_memory": self._settings.object_store_bytes,
                    **quiet,
                }
                local = LocalRay(options, lambda error: self.on_death(error))
                local.start()
                self._local = local
        _send_messages_to_log()
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
        """Stops Ray if this process started it."""
        if self._local:
            self._local.stop()
            self._ray, self._local = None, None

"""Jobs on a Ray cluster: one client for `submit`, `status`, `logs` and `stop`.

Ray's own client waits without a limit and raises a traceback for a refused token. So one bounded request asks the
dashboard for its version first, and every failure becomes `ClusterUnreachable` with a hint.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bessemer import environment
from bessemer.errors import ClusterUnreachable, UsageError
from bessemer.runner.cluster import TOKEN_HINT, current_token

PROBE_SECONDS = 10.0
"""Limit for the first request. A dashboard on a busy head answers within 2 s."""
AGENT_SECONDS = 60.0
"""Seconds of retries: a head that has just started has no agent that accepts jobs yet."""
TAG = "bessemer.recipe"


@dataclass(frozen=True)
class RayJob:
    """A job on a cluster."""

    name: str
    recipe: str
    status: str
    message: str


class Jobs:
    """The Bessemer jobs of one cluster.

        jobs = Jobs("http://head:8265")
        print(jobs.log(jobs.find(None).name))

    Every method raises ClusterUnreachable if the cluster does not answer or refuses the token.
    """

    def __init__(self, address: str) -> None:
        self.address = dashboard_url(address)
        check_dashboard(self.address)
        environment.prepare()
        from ray.job_submission import JobSubmissionClient

        for name in [name for name in logging.root.manager.loggerDict if name.startswith("ray")]:
            logging.getLogger(name).setLevel(logging.ERROR)
        with self._explained():
            self._client = JobSubmissionClient(self.address)

    def submit(self, **job: Any) -> None:
        """Submits a job; the arguments are those of Ray's `JobSubmissionClient.submit_job`."""
        deadline = time.monotonic() + AGENT_SECONDS
        while True:
            with self._explained():
                try:
                    self._client.submit_job(**job)
                    return
                except RuntimeError as error:
                    if "No available agent" not in str(error) or time.monotonic() > deadline:
                        raise
            time.sleep(1.0)

    def all(self) -> list[RayJob]:
        """The jobs, the newest first."""
        with self._explained():
            found = [info for info in self._client.list_jobs() if TAG in (info.metadata or {})]
        found.sort(key=lambda info: info.start_time or 0, reverse=True)
        return [
            RayJob(info.submission_id, info.metadata[TAG], str(info.status.value), info.message or "") for info in found
        ]

    def find(self, name: str | None) -> RayJob:
        """The job called `name` (a prefix is enough), or the newest. Raises UsageError if there is none."""
        found = self.all()
        matches = found if name in (None, "@last") else [job for job in found if job.name.startswith(str(name))]
        if not matches:
            names = ", ".join(f"`{job.name}`" for job in found[:5]) or "none"
            raise UsageError(f"the cluster has no job `{name or '@last'}`", hint=f"jobs there: {names}")
        return matches[0]

    def status(self, name: str) -> str:
        """Ray's status of a job: `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`."""
        with self._explained():
            return str(self._client.get_job_status(name).value)

    def log(self, name: str) -> str:
        with self._explained():
            return str(self._client.get_job_logs(name))

    def stop(self, name: str) -> None:
        with self._explained():
            self._client.stop_job(name)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise _refused(self.address, "asks for a token, and none is set") from error
        except (OSError, RuntimeError, ValueError) as error:  # the errors of requests are OSErrors
            raise ClusterUnreachable(
                f"the cluster at `{self.address}` did not answer as expected: {_first_line(error)}",
                hint="look at the cluster with `ray status`, and try again",
            ) from error


def dashboard_url(address: str) -> str:
    """The URL of a cluster's dashboard; `host:8265` means `http://host:8265`.

    Raises UsageError for an address of another kind, for example `ray://host:10001`.
    """
    example = "give the dashboard's address, for example `--address http://127.0.0.1:8265`"
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # a port that is not a number
        known = False
    if not known or address in ("auto", "local"):
        raise UsageError(f"`{address}` is not the address of a Ray dashboard", hint=example)
    return url.rstrip("/")


def check_dashboard(address: str) -> None:
    """Asks the dashboard for its version. Raises ClusterUnreachable if it refuses or does not answer in time.

    A cluster without authentication needs no token, but Ray's client insists on one in the mode `token`. So the mode
    becomes `disabled` if the cluster answers a request without a token. Ray reads it when it is imported.
    """
    token = current_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"{address}/api/version", headers=headers)
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
            version = json.loads(answer.read(100_000)).get("ray_version")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            why = "refuses the token" if token else "asks for a token, and none is set"
            raise _refused(address, why) from None
        raise _no_dashboard(address, f"HTTP status {error.code}") from None
    except ssl.SSLError as error:
        raise _no_dashboard(address, _first_line(error)) from None
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return  # Ray's client has its own certificates; it decides
        raise _no_dashboard(address, _first_line(reason)) from None
    if version is None:
        raise _no_dashboard(address, "another program answers")
    if token is None:
        os.environ["RAY_AUTH_MODE"] = "disabled"


def _refused(address: str, why: str) -> ClusterUnreachable:
    return ClusterUnreachable(f"the cluster at `{address}` {why}", hint=TOKEN_HINT)


def _no_dashboard(address: str, why: str) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"no Ray cluster answers at `{address}`: {why}",
        hint="give the dashboard's address, for example `--address http://127.0.0.1:8265`, and start a cluster with "
        "`ray start --head` if there is none",
    )


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""The same run as a Ray job on a cluster that was started with `ray start --head`.

What the job needs travels with it: this package and the recipe's folder. What it reads and writes beside that must be
visible to the cluster under the same path: everything is, if the cluster is this machine; elsewhere only what lies
below `cluster.shared_paths`. The rest is refused before anything is sent.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bessemer
from bessemer import environment
from bessemer.errors import ClusterUnreachable, UsageError
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner.locations import storage_root

UPLOAD_LIMIT_BYTES = 100 << 20
AGENT_SECONDS = 60.0
TAG = "bessemer.recipe"


@dataclass(frozen=True)
class Job:
    """A job on a cluster."""

    name: str
    recipe: str
    status: str
    message: str


def submit(recipe: LoadedRecipe, address: str, arguments: Sequence[str] = (), command: str = "run") -> str:
    """Sends `bessemer <command>` with this recipe as a job and returns its name.

    Raises UsageError for what the cluster could not see, ClusterUnreachable where nothing answers.
    """
    refuse_invisible(recipe, address)
    client = connect(address)
    name = f"{recipe.settings.name}-{secrets.token_hex(4)}"
    entrypoint = [
        "-m", "bessemer", command, recipe.path.name, *recipe.assignments,
        f"storage_path={storage_root(recipe)}", "cluster.address=auto", *arguments,
    ]  # fmt: skip
    here = is_this_machine(urlsplit(address).hostname or "")
    python = sys.executable if here else "python"
    folder = recipe.path.parent.resolve()
    _patiently(
        client,
        address,
        entrypoint=f"${{BESSEMER_PYTHON:-{python}}} {shlex.join(entrypoint)}",
        submission_id=name,
        runtime_env={
            "working_dir": str(folder),
            "py_modules": [str(Path(bessemer.__file__).parent)],
            "excludes": ["__pycache__", *_inside(storage_root(recipe), folder)],
        },
        metadata={TAG: recipe.settings.name},
    )
    return name


def _patiently(client: Any, address: str, **job: Any) -> None:
    """Submits; a head that has only just started has no agent to take jobs yet, so it is given some time."""
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            client.submit_job(**job)
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"the cluster at `{address}` does not take the job: {str(error).splitlines()[0]}",
                    hint="look at the cluster with `ray status`, and try again",
                ) from error
            time.sleep(1.0)
        else:
            return


def _inside(path: Path, folder: Path) -> list[str]:
    """`path` as a pattern relative to `folder`, if it lies there: artifacts are not sent with a job."""
    return [f"/{path.relative_to(folder)}"] if path.is_relative_to(folder) and path != folder else []


def connect(address: str) -> Any:
    """A client for the jobs of the cluster at `address` (`http://host:8265`)."""
    environment.prepare()
    from ray.job_submission import JobSubmissionClient

    try:
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("ray")]:
            logging.getLogger(name).setLevel(logging.ERROR)
        client = JobSubmissionClient(address)
        client.get_version()
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at `{address}`: {str(error).splitlines()[0]}",
            hint="give the dashboard's address, for example `--address http://127.0.0.1:8265`, and start a cluster "
            "with `ray start --head` where there is none",
        ) from error
    return client


def jobs(client: Any) -> Iterator[Job]:
    """The cluster's Bessemer jobs, the newest first."""
    found = [info for info in client.list_jobs() if TAG in (info.metadata or {})]
    for info in sorted(found, key=lambda info: info.start_time or 0, reverse=True):
        yield Job(info.submission_id, info.metadata[TAG], str(info.status.value), info.message or "")


def find_job(client: Any, name: str | None) -> Job:
    """The job called `name` (a prefix will do), or the newest. Raises UsageError where there is none."""
    found = list(jobs(client))
    matches = found if name in (None, "@last") else [job for job in found if job.name.startswith(str(name))]
    if not matches:
        names = ", ".join(f"`{job.name}`" for job in found[:5]) or "none"
        raise UsageError(f"there is no job `{name or '@last'}` on the cluster", hint=f"jobs there: {names}")
    return matches[0]


def refuse_invisible(recipe: LoadedRecipe, address: str) -> None:
    """Raises UsageError, naming each path that the cluster could not see."""
    if is_this_machine(urlsplit(address).hostname or ""):
        return
    folder = recipe.path.parent.resolve()
    shared = [Path(path).absolute() for path in recipe.settings.cluster.shared_paths]
    wanted = {"storage_path": storage_root(recipe)}
    for entry in recipe.stages:
        for field, value in _paths(entry.config.model_dump(mode="json"), entry.name):
            if not Path(value).is_relative_to(folder):
                wanted[field] = Path(value)
    hidden = {f: p for f, p in wanted.items() if not any(p.is_relative_to(folder) for folder in shared)}
    if hidden:
        listed = "; ".join(f"`{field}` is `{path}`" for field, path in hidden.items())
        raise UsageError(
            f"the cluster at `{address}` cannot see paths of this machine: {listed}",
            hint="move them to storage that every node mounts and name it in `cluster.shared_paths`",
        )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > UPLOAD_LIMIT_BYTES:
        raise UsageError(
            f"the recipe's folder `{folder}` is sent with the job, and it holds {size >> 20} MiB",
            hint="keep data elsewhere: on storage that every node mounts, named in `cluster.shared_paths`",
        )


def is_this_machine(host: str) -> bool:
    """Whether `host` is an address of this machine."""
    try:
        addresses = {item[4][0] for item in socket.getaddrinfo(host, None)}
        own = {item[4][0] for item in socket.getaddrinfo(socket.gethostname(), None)}
    except socket.gaierror:
        return False
    return any(ipaddress.ip_address(str(found)).is_loopback or found in own for found in addresses)


def _paths(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """(field, path) for every absolute path among the settings; paths of a recipe are absolute once it is loaded."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, f"{field}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, field)
    elif isinstance(value, str) and value.startswith("/"):
        yield field, value

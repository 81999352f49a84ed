"""Submits a run as a job to a Ray cluster that was started with `ray start --head`.

The job carries this package and the recipe's folder. Every other path that it reads or writes must be visible to the
cluster under the same name: on this machine all paths are, elsewhere only those below `cluster.shared_paths`. Other
paths are refused before anything is sent.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bessemer
from bessemer.credentials import redact
from bessemer.errors import UsageError
from bessemer.recipe import overrides, yaml
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner.jobs import TAG, Jobs, dashboard_url
from bessemer.runner.locations import storage_root
from bessemer.runner.source_code import as_variable
from bessemer.tracking.store import absolute_uri

UPLOAD_LIMIT_BYTES = 100 << 20
TRACKING_URI = "MLFLOW_TRACKING_URI"


def submit(recipe: LoadedRecipe, address: str, arguments: Sequence[str] = (), command: str = "run") -> str:
    """Submits `bessemer <command>` with this recipe as a job and returns the job's name.

    A job records at the tracking server of the submitter: the recipe's, or that of `MLFLOW_TRACKING_URI`.

    Raises UsageError for paths that the cluster cannot see and for passwords, ClusterUnreachable if nothing answers.
    """
    address = dashboard_url(address)
    refuse_invisible(recipe, address)
    variables = _variables(recipe, [*recipe.assignments, *arguments])
    jobs = Jobs(address)
    name = f"{recipe.settings.name}-{secrets.token_hex(4)}"
    here = is_this_machine(urlsplit(address).hostname or "")
    entrypoint = ["-m", "bessemer", command, recipe.path.name, *portable_assignments(recipe, here=here), *arguments]
    python = sys.executable if here else "python"
    folder = recipe.path.parent.resolve()
    jobs.submit(
        entrypoint=f"${{BESSEMER_PYTHON:-{python}}} {shlex.join(entrypoint)}",
        submission_id=name,
        runtime_env={
            "working_dir": str(folder),
            "py_modules": [str(Path(bessemer.__file__).parent)],
            "excludes": ["__pycache__", *_inside(storage_root(recipe), folder)],
            "env_vars": variables,
        },
        metadata={TAG: recipe.settings.name},
    )
    return name


def _variables(recipe: LoadedRecipe, arguments: Sequence[str]) -> dict[str, str]:
    """The environment variables of the job.

    Raises UsageError for a password in them or in the arguments, since a cluster's dashboard shows both.
    """
    given = None if recipe.settings.tracking.uri else os.environ.get(TRACKING_URI)
    variables = as_variable(recipe.path.parent)
    if given:
        variables[TRACKING_URI] = absolute_uri(given, recipe.working_folder)
    for text in (*arguments, *variables.values()):
        if redact(text) != text:
            raise UsageError(
                f"`{text}` holds a password, and the cluster's dashboard would show it",
                hint="leave it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster",
            )
    return variables


def portable_assignments(recipe: LoadedRecipe, *, here: bool) -> list[str]:
    """The assignments of the job, which works in its own copy of the recipe's folder.

    A path that the command line gave from this working folder becomes absolute. On another machine (`here` is false) a
    path inside the recipe's folder becomes relative to the copy. The storage path and MLflow's database are absolute.
    """
    folder = recipe.path.parent.resolve()
    found = []
    for text in recipe.absolute_assignments():
        name, _, value = text.partition("=")
        found.append(text if here else overrides.assignment(name, _from_copy(yaml.parse_value(value), folder)))
    found.append(overrides.assignment("storage_path", str(storage_root(recipe))))
    uri = recipe.settings.tracking.uri
    if uri and absolute_uri(uri, recipe.working_folder) != uri:
        found.append(overrides.assignment("tracking.uri", absolute_uri(uri, recipe.working_folder)))
    return [*found, "cluster.address=auto"]


def _from_copy(value: Any, folder: Path) -> Any:
    """`value` with each absolute path below `folder` made relative to it."""
    if isinstance(value, dict):
        return {key: _from_copy(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_copy(item, folder) for item in value]
    inside = isinstance(value, str) and Path(value).is_absolute() and Path(value).is_relative_to(folder)
    return str(Path(value).relative_to(folder)) if inside else value


def _inside(path: Path, folder: Path) -> list[str]:
    """`path` as a pattern relative to `folder`, if it lies there: artifacts are not sent with a job."""
    return [f"/{path.relative_to(folder)}"] if path.is_relative_to(folder) and path != folder else []


def refuse_invisible(recipe: LoadedRecipe, address: str) -> None:
    """Raises UsageError that names each path the cluster cannot see."""
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

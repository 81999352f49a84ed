"""Opens the store of MLflow: SQLite next to the runs, unless the recipe or the environment names a server.

MLflow needs 2 to 8 seconds to create a SQLite database, and two processes that create it at the same time damage it. So
`connect` creates it under a lock, and keeps a copy in the user's cache as a template for the next storage path.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer import storage
from bessemer.credentials import MASK, redact
from bessemer.errors import StorageError, TrackingUnreachable
from bessemer.tracking.relocation import ARTIFACTS as ARTIFACTS
from bessemer.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
_SQLITE = "sqlite:///"


OWN_DATABASE = f"{_SQLITE}{DATABASE}"
"""The database of a storage path, as that path's own files name it, so that the storage can be moved."""


def stored_uri(uri: str, root: Path) -> str:
    """The tracking URI as it is written to a file under the storage path `root`: without passwords, and movable."""
    return OWN_DATABASE if uri == own_database(root) else redact(uri)


def usable_uri(stored: str, root: Path) -> str:
    """The tracking URI for one that `stored_uri` returned. Raises TrackingUnreachable if its password is not known."""
    return own_database(root) if stored == OWN_DATABASE else with_credentials(stored)


def own_database(root: Path) -> str:
    """The URI of the database that lies under a storage path."""
    return f"{_SQLITE}{root.absolute() / DATABASE}"


def resolve_uri(uri: str | None, root: Path) -> str:
    """The tracking URI: the recipe's, else `MLFLOW_TRACKING_URI`, else SQLite under the absolute storage path."""
    return absolute_uri(uri or os.environ.get("MLFLOW_TRACKING_URI") or own_database(root))


def absolute_uri(uri: str, start: Path | None = None) -> str:
    """Makes a path in `uri` absolute, relative to `start` or else the working folder. Does not change a server's URI.

    The path must be absolute because a run records its URI in a file that a later command reads in another folder.
    """
    start = start or Path.cwd()
    if match := re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:)(.+)", uri):
        return f"{match[1]}{start / match[2]}"
    if match := re.fullmatch(r"file:(?!/)(.+)", uri):
        return (start / match[1]).as_uri()
    is_path = "://" not in uri and not uri.startswith("file:") and uri not in ("databricks", "databricks-uc", "uc")
    return str(start / Path(uri).expanduser()) if is_path else uri


def with_credentials(stored: str) -> str:
    """Completes a URI from `tracking.json`, which contains no password.

    The password comes from `MLFLOW_TRACKING_URI`. Raises TrackingUnreachable if that names another server or none.
    """
    if MASK not in stored:
        return stored
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if redact(given) != stored:
        raise TrackingUnreachable(
            f"the password of the tracking server `{stored}` is not stored with the runs",
            hint=f"set the whole address, with the password in place of `{MASK}`, then run the same command: "
            f"export MLFLOW_TRACKING_URI='{stored}'",
        )
    return given


def is_local(uri: str) -> bool:
    """Whether MLflow writes to the store without a server. Models are then registered by path, without an upload."""
    return not uri.startswith(("http://", "https://", "databricks"))


def artifact_location(uri: str, root: Path, experiment: str) -> str | None:
    """The folder for the files of an experiment, under the storage path; None if a server decides."""
    return str(root.absolute() / ARTIFACTS / re.sub(r"[^\w.-]+", "-", experiment)) if is_local(uri) else None


def connect(uri: str, *, create: bool = True) -> MlflowClient:
    """A client for `uri`. With `create` it makes an SQLite database that does not exist yet, under a lock.

    A database that was moved or copied with its storage path gets its new paths. Raises one of `unreachable()` if the
    server, or without `create` the database, does not exist.
    """
    # At most two requests of 10 s; MLflow's default is seven of 120 s. A failure loses nothing: the run's files remain.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(_SQLITE):
        database = Path(uri.removeprefix(_SQLITE)).absolute()
        if not create and not database.exists():
            raise FileNotFoundError(f"the database `{database}` does not exist")
        with storage.explained(database):
            database.parent.mkdir(parents=True, exist_ok=True)
            with locked(database.with_name(f".{database.name}.lock")):
                if not database.exists():
                    _make_database(database)
                relocate(database)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def unreachable() -> tuple[type[Exception], ...]:
    """The exceptions for a store that cannot be used: no connection, no space, no permission, or a refused request."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError, StorageError


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds an exclusive lock on the file `path`, which the system frees if this process dies.

    Yields True. Without `wait`, yields False if another process holds the lock.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _make_database(database: Path) -> None:
    template = _template()
    temporary = database.with_name(f"{storage.TEMPORARY}{os.getpid()}-{database.name}")
    try:
        if template.exists():
            shutil.copyfile(template, temporary)
        else:
            _migrate(temporary)
            with contextlib.suppress(OSError):  # without a cache folder, the next database takes a few seconds again
                template.parent.mkdir(parents=True, exist_ok=True)
                copy = template.with_name(f"{template.name}.{os.getpid()}")
                shutil.copyfile(temporary, copy)
                copy.replace(template)
        with contextlib.closing(sqlite3.connect(temporary)) as connection, connection:
            default = str(database.parent / ARTIFACTS / "Default")
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (default,))
        temporary.replace(database)
    finally:
        temporary.unlink(missing_ok=True)


def _migrate(database: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"{_SQLITE}{database}").search_experiments(max_results=1)
    _close(f"{_SQLITE}{database}")


def _close(uri: str) -> None:
    """Closes MLflow's connections to a database before it is renamed."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engines: dict[str, Any] = getattr(SqlAlchemyStore, "_engine_map", {})
    if engine := engines.pop(uri, None):
        engine.dispose()


def _template() -> Path:
    from mlflow.version import VERSION

    return storage.cache_folder() / f"mlflow-{VERSION}.db"

"""New paths for an MLflow database that was moved or copied together with its storage path.

MLflow stores absolute paths of the files, models and data sets of a run. The database `mlflow.db` lies in the storage
path, next to `mlflow-artifacts`, and its experiment 0 has the path of that folder. If the folder is elsewhere now,
every path below the old storage path is replaced in one transaction. The cost is one query if nothing was moved.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

ARTIFACTS = "mlflow-artifacts"
_PATHS = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "model_versions": ["source", "storage_location"],
    "logged_models": ["artifact_location"],
    "datasets": ["dataset_source"],
}
"""The columns that hold paths. The source of a data set is JSON with the path in `uri`."""


def relocate(database: Path) -> None:
    """Replaces the old storage path in a database by the folder that it lies in; the caller holds its lock."""
    new = str(database.parent)
    with contextlib.closing(sqlite3.connect(database, timeout=30.0)) as connection, connection:
        old = _old_root(connection)
        if old is None or old == new:
            return
        for table, columns in _PATHS.items():
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for column in columns:
                for prefix in ("", "file://", '{"uri": "') if column in known else ():
                    _replace(connection, table, column, f"{prefix}{old}/", f"{prefix}{new}/")


def _old_root(connection: sqlite3.Connection) -> str | None:
    """The storage path that the database was made for; None if it does not say."""
    row = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
    location, end = str(row[0]) if row else "", f"/{ARTIFACTS}/Default"
    return location.removesuffix(end) if location.endswith(end) else None


def _replace(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    """Replaces a prefix; table and column are constants of this module."""
    connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
        (new, len(old) + 1, len(old), old),
    )

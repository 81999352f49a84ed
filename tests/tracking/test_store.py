"""Tests of the default store: concurrent processes create one valid database; artifact paths are absolute."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bessemer import storage
from bessemer.errors import TrackingUnreachable
from bessemer.tracking import store
from bessemer.tracking.mirror import NAME, registered_models

PROGRAM = """
import sys
from bessemer.tracking.store import connect
client = connect(sys.argv[1])
print(client.create_experiment(sys.argv[2]))
"""


def test_the_recipe_comes_before_the_environment_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert store.resolve_uri(None, tmp_path) == "http://server"
    assert store.resolve_uri("http://other", tmp_path) == "http://other"


def test_a_password_that_is_not_stored_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gc` asks the registry of a finished run, whose files hold no password."""
    stored = "http://ann:***@tracking.example:5000"
    storage.write_json(tmp_path / "x-20260101-000000-0000" / NAME, {"uri": stored, "experiment": "x"})
    for given in ("", "http://ann:secret@other.example:5000"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        with pytest.raises(TrackingUnreachable, match="cannot list the models that are registered at") as caught:
            registered_models(tmp_path, only_aliased=False)
        assert "the password of the tracking server `http://ann:***@tracking.example:5000` is not stored" in str(
            caught.value
        )
        assert (
            f"with the password in place of `***`, then run the same command: export MLFLOW_TRACKING_URI='{stored}'"
            in (caught.value.hint)
        )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@tracking.example:5000")
    assert store.with_credentials(stored) == "http://ann:secret@tracking.example:5000"


def test_processes_that_make_the_database_at_once_all_succeed(recorded: Any, tmp_path: Path) -> None:
    uri = store.resolve_uri(None, tmp_path / "new")
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, uri, f"e{number}"], stderr=subprocess.PIPE)
        for number in range(2)
    ]
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    assert errors == ["", ""], "creating a database prints nothing"
    with sqlite3.connect(tmp_path / "new" / "mlflow.db") as connection:
        found = dict(connection.execute("SELECT name, artifact_location FROM experiments"))
    assert set(found) == {"Default", "e0", "e1"}
    assert found["Default"] == str(tmp_path / "new" / "mlflow-artifacts" / "Default")
    assert [path.name for path in (tmp_path / "new").glob("*tmp*")] == []


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///mlflow.db", "sqlite:////here/mlflow.db"),
        ("sqlite+pysqlite:///a/b.db", "sqlite+pysqlite:////here/a/b.db"),
        ("sqlite:////abs.db", "sqlite:////abs.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("mlruns", "/here/mlruns"),
        ("./mlruns", "/here/mlruns"),
        ("file:mlruns", "file:///here/mlruns"),
        ("file:///abs", "file:///abs"),
        ("http://server:5000", "http://server:5000"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
        ("postgresql://u:p@h/db", "postgresql://u:p@h/db"),
    ],
)
def test_a_relative_store_does_not_move_with_the_working_folder(uri: str, absolute: str) -> None:
    assert store.absolute_uri(uri, Path("/here")) == absolute


def test_artifacts_of_an_experiment_lie_under_the_storage_path(recorded: Any, fake_run: Any) -> None:
    recorded.mirror(fake_run).synchronise()
    location = recorded.client.get_experiment_by_name("toy").artifact_location
    assert location == str(recorded.root / "mlflow-artifacts" / "toy")
    assert store.artifact_location("http://server", recorded.root, "toy") is None
    assert store.artifact_location(recorded.uri, recorded.root, "../a b") == str(
        recorded.root / "mlflow-artifacts" / "..-a-b"
    )


def test_a_deleted_experiment_comes_back(recorded: Any, fake_run: Any) -> None:
    recorded.mirror(fake_run).synchronise()
    recorded.client.delete_experiment(recorded.client.get_experiment_by_name("toy").experiment_id)
    recorded.mirror(fake_run).synchronise()
    assert list(recorded.runs()) == [fake_run.name]

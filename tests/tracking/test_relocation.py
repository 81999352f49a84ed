"""A storage path that was moved or copied keeps its records, its registered models and their files."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tracking.fake_run import FakeRun, Recorded

from bessemer import storage
from bessemer.errors import TrackingUnreachable
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking import mirror as mirrors
from bessemer.tracking import store
from bessemer.tracking.mirror import read_wanted, record, registered_models


@pytest.fixture
def finished(cache: Path, tmp_path: Path) -> FakeRun:
    """A run under `old`, recorded to its end, with a registered model."""
    run = FakeRun(tmp_path / "old")
    storage.write_text(run.folder / "report.html", "<p>report")
    run.whole()
    uri = store.resolve_uri(None, run.root)
    storage.write_json(run.folder / mirrors.NAME, mirrors._wanted(run.folder, TrackingSettings(), uri, {}))
    record(run.folder)
    return run


def every_text(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_storage_finds_its_files_and_models(finished: FakeRun, tmp_path: Path, move: Any) -> None:
    old, new = finished.root, tmp_path / "elsewhere" / "new"
    new.parent.mkdir()
    assert str(old) in every_text(old / store.DATABASE)
    before = every_text(old / store.DATABASE)
    move(str(old), str(new))
    assert registered_models(new, only_aliased=False) == {finished.fingerprint("pretrain")}
    client = store.connect(store.resolve_uri(None, new))
    (version,) = client.search_model_versions()
    assert version.source == str(new / "artifacts" / "pretrain" / finished.fingerprint("pretrain") / "data")
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    parents = client.search_runs([experiment.experiment_id])
    parent = next(run for run in parents if run.info.run_name == finished.name)
    assert parent.info.artifact_uri == str(new / "mlflow-artifacts" / "toy" / parent.info.run_id / "artifacts")
    assert "report.html" in [file.path for file in client.list_artifacts(parent.info.run_id)]
    assert str(old) not in every_text(new / store.DATABASE)
    if move is shutil.copytree:
        assert every_text(old / store.DATABASE) == before, "the original stays as it was"
    else:
        assert not old.exists(), "nothing is made at the old place"


def test_a_run_of_a_moved_storage_is_recorded_at_the_new_place(finished: FakeRun, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.move(str(finished.root), str(new))
    storage.append_line(
        new / finished.name / "events.jsonl", {"time": "2027-03-01T00:00:00.000Z", "event": "run_failed", "error": "x"}
    )
    program = (
        "import sys; from pathlib import Path; from bessemer.tracking.mirror import record; record(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(new / finished.name)], check=True)  # MLflow remembers old paths
    runs = store.connect(store.resolve_uri(None, new)).search_runs(["1"])
    assert {run.info.run_name: run.info.status for run in runs}[finished.name] == "FAILED"
    assert not finished.root.exists()


def test_paths_of_earlier_versions_are_found_at_the_new_place(finished: FakeRun, tmp_path: Path) -> None:
    """They stored the absolute path of the database."""
    settings = f"name: toy\nstorage_path: {finished.root}\ntracking: {{uri: null}}\nstages: {{}}\n"
    storage.write_text(finished.folder / "resolved.yaml", settings)
    storage.write_json(
        finished.folder / mirrors.NAME, {"uri": f"sqlite:///{finished.root}/mlflow.db", "experiment": "toy"}
    )
    new = tmp_path / "new"
    shutil.copytree(finished.root, new)
    wanted = read_wanted(new / finished.name)
    assert wanted is not None
    assert store.usable_uri(wanted["uri"], new) == f"sqlite:///{new}/mlflow.db"


def test_another_database_that_is_missing_is_not_made_anew(finished: FakeRun, tmp_path: Path) -> None:
    """An empty database would say that no model is registered, and `gc` would delete them all."""
    elsewhere = tmp_path / "elsewhere.db"
    storage.write_json(finished.folder / mirrors.NAME, {"uri": f"sqlite:///{elsewhere}", "experiment": "toy"})
    with pytest.raises(TrackingUnreachable, match="cannot list") as caught:
        registered_models(finished.root, only_aliased=False)
    assert "move it back" in caught.value.hint
    assert not elsewhere.exists()


def test_the_own_database_is_missed_only_if_runs_were_recorded_in_it(finished: FakeRun) -> None:
    (finished.root / store.DATABASE).unlink()
    with pytest.raises(TrackingUnreachable, match="cannot list"):
        registered_models(finished.root, only_aliased=False)
    shutil.rmtree(finished.root / "mlflow-artifacts")
    assert registered_models(finished.root, only_aliased=False) == set()
    assert not (finished.root / store.DATABASE).exists()


@pytest.mark.parametrize("content", ["", "null", "[]", "{", '{"uri": 3}', "\udcff"])
def test_a_damaged_request_is_rebuilt_from_the_settings(finished: FakeRun, content: str) -> None:
    whole = read_wanted(finished.folder)
    (finished.folder / mirrors.NAME).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_wanted(finished.folder) == whole
    assert registered_models(finished.root, only_aliased=False) == {finished.fingerprint("pretrain")}
    (finished.folder / "resolved.yaml").write_text("a: [")
    assert read_wanted(finished.folder) == whole


def test_a_request_holds_no_path_of_the_storage(finished: FakeRun) -> None:
    assert str(finished.root) not in json.dumps(storage.read_json(finished.folder / mirrors.NAME))
    assert read_wanted(finished.root / "absent") is None


def test_a_database_that_was_not_moved_is_left_alone(recorded: Recorded) -> None:
    before = every_text(recorded.root / store.DATABASE)
    store.connect(recorded.uri)
    assert every_text(recorded.root / store.DATABASE) == before

"""Tests that a run never waits for MLflow, never fails because of it, and loses no records if it is unreachable."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from tests.tracking.fake_run import Recorded

from bessemer import storage
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking import mirror as mirrors
from bessemer.tracking.mirror import Mirror, catch_up, record


def test_a_run_is_mirrored_while_it_works(recorded: Any, fake_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "SECONDS", 0.01)
    said: list[str] = []
    with Mirror(fake_run.folder, TrackingSettings(), said.append, {}) as mirror:
        fake_run.whole()
        mirror.finish()
    assert recorded.points("pretrain", "train/loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert said == []
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 0, "there is nothing left to record"


def test_an_unreachable_server_is_said_once_and_caught_up_later(
    cache: Path, fake_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    said: list[str] = []
    with Mirror(fake_run.folder, TrackingSettings(uri=uri), said.append, {}) as mirror:
        fake_run.whole()
        mirror.finish()
    assert len(said) == 1
    assert f"MLflow at {uri} cannot be reached" in said[0]
    assert f"`bessemer ui --storage-path {fake_run.root}` records the rest" in said[0]
    recorded = Recorded(fake_run.root)
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 0, "its tracking URI is another one"
    wanted = storage.read_json(fake_run.folder / mirrors.NAME)
    storage.write_json(fake_run.folder / mirrors.NAME, wanted | {"uri": recorded.uri})
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 1
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 0
    assert recorded.points("pretrain", "train/loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_killed_run_is_caught_up_by_the_next(recorded: Any, make_run: Any) -> None:
    killed = make_run("toy-20260101-000000-0001")
    wanted = {"uri": recorded.uri, "experiment": "toy", "tags": {}, "register": True}
    storage.write_json(killed.folder / mirrors.NAME, wanted)
    killed.event("stage_started", "pretrain", attempt=1)
    killed.point("pretrain", 1, 1, train__loss=2.0)
    following = make_run("toy-20260101-000000-0002")
    with Mirror(following.folder, TrackingSettings(), print, {}):
        following.event("run_finished")
    # The thread stops catching up when its run ends. The next call records the rest.
    catch_up(recorded.client, recorded.root, recorded.uri)
    assert recorded.runs()["toy-20260101-000000-0001"].info.status == "KILLED"
    assert recorded.runs()["pretrain"].data.metrics["train/loss"] == 2.0


def test_a_report_written_after_the_run_is_recorded(recorded: Any, fake_run: Any) -> None:
    with Mirror(fake_run.folder, TrackingSettings(), print, {}) as mirror:
        fake_run.whole()
        mirror.finish()
    storage.write_text(fake_run.folder / "report.html", "<p>late</p>")
    record(fake_run.folder)
    run_id = recorded.runs()[fake_run.name].info.run_id
    assert "report.html" in {file.path for file in recorded.client.list_artifacts(run_id)}


def test_a_run_without_a_store_to_write_to_goes_on(cache: Path, fake_run: Any) -> None:
    said: list[str] = []
    blocked = fake_run.root / "file"
    blocked.write_text("")
    with Mirror(fake_run.folder, TrackingSettings(uri=f"sqlite:///{blocked}/mlflow.db"), said.append, {}):
        fake_run.event("run_finished")
    assert len(said) == 1

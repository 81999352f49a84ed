"""Tests that `bessemer ui` shows runs and, inside MLflow's frame, their report, and that a signal ends it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tracking.fake_run import FakeRun

from bessemer import storage
from bessemer.errors import UsageError
from bessemer.tracking import mirror, ui

SERVE = """
import sys
from pathlib import Path
from bessemer.tracking.ui import serve
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


def browse(address: str, *options: str) -> str:
    """The content of a page in a browser without a window, after its scripts have run."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("Chromium is not installed; to run this test: `apt-get install chromium`")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=25000", *options, address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def served(recorded: Any, fake_run: FakeRun) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(address, process) of a server whose store lacks a finished run."""
    fake_run.whole()
    storage.write_text(fake_run.folder / "report.html", "<!doctype html><title>r</title><h1>The report itself</h1>")
    wanted = {"uri": recorded.uri, "experiment": "toy", "tags": {}, "register": True}
    storage.write_json(fake_run.folder / mirror.NAME, wanted)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(recorded.root), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: healthy(address) or process.poll() is not None)
        yield address, process
    finally:
        process.terminate()  # its workers end with it
        process.wait()


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("the condition was not met within two minutes")


def test_a_browser_sees_the_runs_and_the_report(
    served: tuple[str, subprocess.Popen[bytes]], recorded: Any, fake_run: FakeRun, tmp_path: Path
) -> None:
    address, process = served
    run = recorded.runs()[fake_run.name]
    experiment = f"{address}/#/experiments/{run.info.experiment_id}/runs"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    assert fake_run.name in browse(experiment, profile, "--dump-dom")
    shown = browse(f"{experiment}/{run.info.run_id}/artifacts/report.html", profile, "--dump-dom")
    assert "recipe.yaml" in shown
    assert "<iframe" in shown

    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    wait_until(lambda: not healthy(address))


def test_a_server_elsewhere_is_not_served_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    with pytest.raises(UsageError, match="http://tracking:5000"):
        ui.serve(tmp_path, "127.0.0.1", 1)


def test_no_runs_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="no runs"):
        ui.serve(tmp_path / "absent", "127.0.0.1", 1)

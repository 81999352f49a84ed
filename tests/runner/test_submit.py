"""A recipe as a job on a real Ray head; paths that a cluster could not see are refused before anything is sent."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import UsageError
from bessemer.runner.plan import load_recipe
from bessemer.runner.submit import is_this_machine, refuse_invisible

RECIPE = "name: job\nnum_workers: 0\nstages:\n  ingest: {paths: [documents]}\n  clean: {rules: [normalise]}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "documents").mkdir()
    for number in range(3):
        (tmp_path / "documents" / f"{number}.txt").write_text(f"Document {number} is here, and it says what it says.\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def head() -> Iterator[str]:
    """A Ray head of its own with a dashboard, ended by its process group."""
    port, folder = free_port(), tempfile.mkdtemp(prefix="ray")  # a short path: sockets lie below it
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={free_port()}",
        f"--dashboard-port={port}", "--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats",
        f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield address
    os.killpg(process.pid, 15)
    process.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def bessemer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bessemer", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.drill
def test_a_job_runs_the_recipe_and_can_be_followed(folder: Path, head: str) -> None:
    sent = bessemer(folder, "submit", "recipe.yaml", "--address", head, "--follow")
    assert sent.returncode == 0, sent.stderr + sent.stdout
    name = sent.stdout.splitlines()[0]
    state = json.loads(bessemer(folder, "status", name, "--address", head, "--json").stdout)
    assert (state["status"], state["recipe"]) == ("succeeded", "job")
    assert "clean: finished" in bessemer(folder, "logs", name, "--address", head).stdout
    local = json.loads(bessemer(folder, "status", "--json").stdout)
    assert local["status"] == "finished"
    assert local["stages"]["clean"]["event"] == "stage_finished"


def test_paths_that_a_remote_cluster_cannot_see_are_refused(folder: Path) -> None:
    (folder / "far").mkdir()
    loaded = load_recipe(folder / "recipe.yaml", [f"storage_path={folder / 'far'}"])
    with pytest.raises(UsageError, match="`storage_path`") as caught:
        refuse_invisible(loaded, "http://192.0.2.77:8265")
    assert "cluster.shared_paths" in caught.value.hint
    shared = load_recipe(folder / "recipe.yaml", [f"storage_path={folder / 'far'}", f"cluster.shared_paths=[{folder}]"])
    refuse_invisible(shared, "http://192.0.2.77:8265")
    refuse_invisible(loaded, "http://127.0.0.1:8265")


@pytest.mark.parametrize(("host", "here"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.77", False)])
def test_this_machine_is_known_by_its_addresses(host: str, here: Any) -> None:
    assert is_this_machine(host) == here

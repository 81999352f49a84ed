"""Submits a recipe as a job to a real Ray head. Paths that the cluster cannot see are refused before the submission."""

from __future__ import annotations

import json
import os
import secrets
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
from bessemer.runner import submit as submitting
from bessemer.runner.plan import load_recipe
from bessemer.runner.submit import is_this_machine, portable_assignments, refuse_invisible, submit

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
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard of a new Ray head with its own token. The fixture ends the process group of the head."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
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


@pytest.mark.drill
def test_the_commands_of_the_readme_work_on_a_new_machine(folder: Path, repository: Path, tmp_path: Path) -> None:
    """Runs the block of commands with a home folder without a token. Changes only ports and names."""
    readme = (repository / "cluster" / "README.md").read_text()
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
    assert commands[-1] == "ray stop"  # it would stop every Ray on this machine, so the test ends its own
    ray_folder, dashboard, head_port = Path(tempfile.mkdtemp(prefix="ray")), free_port(), free_port()
    script = "\n".join(["set -e", *commands[:-1]])
    script = script.replace("8265", str(dashboard)).replace("pipelines/local/recipe.yaml", "recipe.yaml")
    script = script.replace("--head ", f"--head --port {head_port} --temp-dir {ray_folder} --num-cpus 2 ")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run(["pkill", "-KILL", "-f", str(ray_folder)], check=False)
        shutil.rmtree(ray_folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / ".ray" / "auth_token").exists()


def test_a_job_has_the_paths_of_the_working_folder_in_which_it_was_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "documents")
    (folder / "recipe.yaml").write_text("tracking: {uri: 'sqlite:///mlflow.db'}\n" + RECIPE)
    loaded = load_recipe(folder / "recipe.yaml", ["ingest.paths=[0.txt, /elsewhere]", "seed=3"])
    documents = folder / "documents"
    stored = [f"storage_path={documents / 'runs'}", f"tracking.uri=sqlite:///{documents / 'mlflow.db'}"]
    assert portable_assignments(loaded, here=True) == [
        f'ingest.paths=["{documents / "0.txt"}", "/elsewhere"]', "seed=3", *stored, "cluster.address=auto",
    ]  # fmt: skip
    assert portable_assignments(loaded, here=False) == [
        'ingest.paths=["documents/0.txt", "/elsewhere"]', "seed=3", *stored, "cluster.address=auto",
    ]  # fmt: skip


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


def test_a_password_is_never_part_of_a_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "tracking.uri=http://ann:pa55@tracking.test"
    with pytest.raises(UsageError, match="holds a password") as caught:
        submit(load_recipe(folder / "recipe.yaml", [secret]), "http://127.0.0.1:9")
    assert "pa55" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:pa55@tracking.test")
    with pytest.raises(UsageError, match="holds a password"):
        submit(load_recipe(folder / "recipe.yaml", []), "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("assignments", "variables"),
    [([], {"MLFLOW_TRACKING_URI": "http://tracking.test"}), (["tracking.uri=http://other.test"], {})],
)
def test_a_job_records_where_its_submitter_would(
    folder: Path, monkeypatch: pytest.MonkeyPatch, assignments: list[str], variables: dict[str, str]
) -> None:
    sent: dict[str, Any] = {}

    class FakeJobs:
        def __init__(self, address: str) -> None: ...

        def submit(self, **job: Any) -> None:
            sent.update(job)

    monkeypatch.setattr(submitting, "Jobs", FakeJobs)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.test")
    submit(load_recipe(folder / "recipe.yaml", assignments), "http://127.0.0.1:9")
    assert sent["runtime_env"]["env_vars"] == variables
    assert all(assignment in sent["entrypoint"] for assignment in assignments)

"""The runs of a drill: a recipe on one storage path, and all processes that it started, including orphans."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from bessemer.fingerprint import file_sha256
from bessemer.runner import runs

NAMESPACES = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A command prefix that runs a command in its own PID namespace, like a container."""
GONE_SECONDS = 5.0
"""Maximum seconds between the end of a run and the end of its last process, on a machine that is not overloaded."""


class Runner:
    """Runs one recipe on one storage path, and tracks all processes that it starts, including orphans."""

    def __init__(self, recipe: Path, root: Path, *settings: str, command: str = "run") -> None:
        self.root = root
        self._command = [sys.executable, "-m", "bessemer", command, str(recipe), *settings, f"storage_path={root}"]
        self._mark = secrets.token_hex(8)
        self._log = root.with_name(f"{root.name}-{self._mark}.txt")

    def start(self, *before: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts the command. `before` is a command prefix, such as `NAMESPACES`."""
        variables = {**os.environ, "BESSEMER_DRILL_MARK": self._mark, **(environment or {})}
        command = [*before, *self._command]
        with self._log.open("ab") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, env=variables)

    def finish(self) -> None:
        assert self.start().wait(timeout=900) == 0, self.said()
        assert self.status() == "finished"

    def said(self) -> str:
        return self._log.read_text()[-4000:]

    def status(self) -> str:
        listed = subprocess.run(
            [sys.executable, "-m", "bessemer", "runs", "--json", "--storage-path", str(self.root)],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        found: str = json.loads(listed)[0]["status"]
        return found

    def attempts(self) -> int:
        """Number of times that the newest run was started."""
        found = next(runs.all_runs(self.root), None)
        return sum(event["event"] == "run_started" for event in found.events()) if found else 0

    def stages(self) -> dict[str, str]:
        """The newest event of every stage."""
        found = next(runs.all_runs(self.root), None)
        return {name: stage["event"] for name, stage in found.stages().items()} if found else {}

    def newest_step(self, kind: str) -> int:
        """The step of the newest checkpoint of the stages of this kind; 0 without a checkpoint."""
        found = self.root.glob(f"artifacts/{kind}/*/checkpoints/step-*/manifest.json")
        return max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)

    def models(self, kind: str) -> dict[str, str]:
        """The digests of the finished models of this kind, by fingerprint."""
        files = self.root.glob(f"artifacts/{kind}/*/data/model.safetensors")
        finished = [file for file in files if (file.parents[1] / "manifest.json").exists()]
        return {file.parents[1].name: file_sha256(file) for file in finished}

    def reuse(self, other: Runner, *, without: str) -> None:
        """Copies the artifacts of another storage path, except those of the kind `without`."""
        shutil.copytree(
            other.root / "artifacts", self.root / "artifacts", ignore=shutil.ignore_patterns(without, "lease-*")
        )

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("BESSEMER_DRILL_MARK") == self._mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def named(self, name: str) -> list[psutil.Process]:
        """The processes whose title starts with `name`, such as `ray::RayTrainWorker`."""
        return [process for process, command in self._commands() if command.startswith(name)]

    def named_by_program(self, name: str) -> list[psutil.Process]:
        """The processes whose executable file is called `name`, such as `raylet`."""
        return [process for process, command in self._commands() if Path(command).name == name]

    def _commands(self) -> list[tuple[psutil.Process, str]]:
        found = []
        for process in self.processes():
            try:
                found += [(process, command) for command in process.cmdline()[:1]]
            except psutil.NoSuchProcess:
                continue
        return found

    def end(self) -> None:
        """Kills the remaining processes after a failed drill."""
        for process in self.processes():
            process.kill()


def changed_python(folder: Path, code: str) -> dict[str, str]:
    """Environment variables with which every Python process runs `code` when it starts."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def short_leases(folder: Path, silence_seconds: float) -> dict[str, str]:
    """Environment variables for a faster heartbeat, and for a lease that is lost after `silence_seconds`."""
    return changed_python(
        folder,
        "from bessemer.artifacts import lease\n"
        f"lease.HEARTBEAT_SECONDS, lease.SILENCE_SECONDS = 1.0, {silence_seconds}\n",
    )


def skip_without_namespaces() -> None:
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this process may not make namespaces")


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes], runner: Runner) -> None:
    """Waits until something happens while the run is in progress."""
    began = time.monotonic()
    while not happened():
        assert process.poll() is None, runner.said()
        assert time.monotonic() - began < 600, runner.said()
        time.sleep(0.05)


def wait_until_gone(runner: Runner) -> float:
    """Waits until all processes of the run have ended; returns the seconds. Fails after a minute."""
    began = time.monotonic()
    while left := runner.processes():
        assert time.monotonic() - began < 60, [process.cmdline() for process in left]
        time.sleep(0.2)
    return time.monotonic() - began


def kill_at_checkpoint(runner: Runner, process: subprocess.Popen[bytes], kind: str, name: str) -> tuple[int, str]:
    """Kills a system process of Ray, or the `driver`, as soon as a stage of this kind has a newer checkpoint.

    Returns (exit code, a sentence with the times). Fails if processes of the run live longer than `GONE_SECONDS`.
    """
    before, made = runner.newest_step(kind), runner.models(kind)
    wait_for(lambda: bool(runner.named_by_program("raylet")), process, runner)
    victims = [psutil.Process(process.pid)] if name == "driver" else runner.named_by_program(name)
    assert victims
    wait_for(lambda: runner.newest_step(kind) > before, process, runner)
    assert runner.models(kind) == made, "the training ended before the kill"
    began = time.monotonic()
    for victim in victims:
        victim.kill()
    code = process.wait(timeout=120)
    ended = time.monotonic() - began
    gone = wait_until_gone(runner)
    check_gone(gone)
    step = runner.newest_step(kind)
    return code, f"{name} at step {step} of {kind}: exit code {code} after {ended:.1f} s, all gone {gone:.1f} s later"


def check_gone(seconds: float) -> None:
    """Checks the time in which all processes ended. The limit grows with the load of the machine."""
    overload = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert seconds < GONE_SECONDS * overload, f"processes of the run lived for {seconds:.1f} s after its end"

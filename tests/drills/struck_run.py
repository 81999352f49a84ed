"""The runs of a drill: a recipe on one storage path, and all processes that it started, including orphans."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bessemer.runner import runs


class Runner:
    """Runs one recipe on one storage path, and tracks all processes that it starts, including orphans."""

    def __init__(self, recipe: Path, root: Path, *settings: str, command: str = "run") -> None:
        self.root = root
        self._log = root.with_suffix(".txt")
        self._command = [sys.executable, "-m", "bessemer", command, str(recipe), *settings, f"storage_path={root}"]
        self._mark = secrets.token_hex(8)

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as file:
            environment = os.environ | {"BESSEMER_DRILL_MARK": self._mark}
            return subprocess.Popen(self._command, stdout=file, stderr=file, start_new_session=True, env=environment)

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
        found = []
        for process in self.processes():
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def named_by_program(self, name: str) -> list[psutil.Process]:
        """The processes whose executable file is called `name`, such as `raylet`."""
        found = []
        for process in self.processes():
            try:
                if process.cmdline() and Path(process.cmdline()[0]).name == name:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def end(self) -> None:
        """Kills the remaining processes after a failed drill."""
        for process in self.processes():
            process.kill()


def wait_until_gone(runner: Runner) -> float:
    """Waits until all processes of the run have ended; returns the seconds. Fails after a minute."""
    began = time.monotonic()
    while left := runner.processes():
        assert time.monotonic() - began < 60, [process.cmdline() for process in left]
        time.sleep(0.2)
    return time.monotonic() - began

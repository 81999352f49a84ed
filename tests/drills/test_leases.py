"""An artifact has one writer, even if real processes are stopped, killed, in other namespaces, or have wrong clocks.

Each drill crawls a small site and cleans its pages. The site answers slowly enough to interrupt the crawl in the
middle. Run by `make drill`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from tests.drills.struck_run import NAMESPACES, changed_python, short_leases, skip_without_namespaces
from tests.support.web import Answer, Web, page

from bessemer.artifacts.store import Store
from bessemer.runner import runs

pytestmark = pytest.mark.drill

PAGES = 120
WAVE = 15
"""Pages at the same distance from the first page. The crawl saves its state after each wave."""
SILENCE_SECONDS = 12.0
RECIPE = """
name: drill
num_workers: 0
stages:
  crawl:
    seeds: [http://library.test/]
    connect_to: {{"*.test": "http://127.0.0.1:{port}"}}
    allow_private_addresses: true
    delay_seconds: 0
    max_depth: 999
  extract: {{split: {{validation: 0.1}}}}
  clean: {{rules: [normalise]}}
"""
WRONG_CLOCK = """
import time
_now, _now_ns = time.time, time.time_ns
time.time = lambda: _now() + {step}
time.time_ns = lambda: _now_ns() + {step} * 10**9
"""


@dataclass
class Drill:
    """A folder with a recipe and the site that it crawls."""

    folder: Path
    web: Web
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "runs"

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def start(self, *before: str, root: Path | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Starts the recipe. `before` is a command prefix, such as `unshare` with its options."""
        (self.folder / "recipe.yaml").write_text(RECIPE.format(port=self.web.port))
        command = [sys.executable, "-m", "bessemer", "run", "recipe.yaml", f"storage_path={root or self.root}"]
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*before, *command], cwd=self.folder, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes] | None = None, **choices: Any) -> None:
        process = process or self.start(**choices)
        assert process.wait(timeout=300) == 0, self.log

    def wait_for_pages(self, number: int) -> None:
        until(lambda: len(self.web.requests) >= number)

    def bessemer(self, *arguments: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bessemer", *arguments, "--storage-path", str(root or self.root)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    def made(self, root: Path | None = None) -> Counter[str]:
        """The number of times that each stage finished, over all runs."""
        found = (event for run in runs.all_runs(root or self.root) for event in run.events())
        return Counter(event["stage"] for event in found if event["event"] == "stage_finished")


def until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drill]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Web({f"library.test/{n or ''}": chapter(n) for n in range(PAGES)}) as web:
        found = Drill(tmp_path, web)
        yield found
        for process in found.started:
            if process.poll() is None:
                for one in (*psutil.Process(process.pid).children(recursive=True), process):
                    one.kill()
                process.wait()


def chapter(number: int) -> Answer:
    """A page that links to the pages of its wave and of the next wave."""
    first = number - number % WAVE
    links = (f"/{n or ''}" for n in range(first, min(first + 2 * WAVE, PAGES)))
    return Answer(page(*links, text=f"Page {number} of the book."), delay_seconds=0.05)


def python_in(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The process that runs the recipe, also if `unshare` started it."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return next(one for one in family if "bessemer" in one.cmdline() and "unshare" not in one.cmdline()[0])


def check_whole(drill: Drill, root: Path | None = None) -> None:
    """Checks that every artifact matches its manifest, has every page once, and has no other files."""
    for artifact in Store(root or drill.root).all():
        artifact.verify(hashes=True)
        listed = {artifact.path / file.path for file in artifact.manifest.files}
        assert {path for path in artifact.data.rglob("*") if path.is_file()} <= listed
        assert not list(artifact.path.rglob(".tmp-*"))
        assert artifact.manifest.counts is not None
        kept = artifact.manifest.counts.documents_out
        assert kept == PAGES or artifact.manifest.stage != "crawl", kept


def test_an_owner_in_another_pid_namespace_is_waited_for(drill: Drill) -> None:
    """Containers on the host's network share its name, but not its process ids."""
    skip_without_namespaces()
    first = drill.start(*NAMESPACES)
    drill.wait_for_pages(20)
    second = drill.start(*NAMESPACES)
    third = drill.start()
    for process in (first, second, third):
        drill.finish(process)
    assert drill.made() == {"crawl": 1, "extract": 1, "clean": 1}
    assert "waiting to reuse it" in drill.log
    assert max(Counter(drill.web.paths()).values()) == 1
    check_whole(drill)


@pytest.mark.parametrize("step", [6, 86_400])
def test_a_clock_step_makes_no_second_writer(drill: Drill, tmp_path: Path, step: int) -> None:
    """The time of day of the other processes is earlier or later than that of the first, as after a clock step."""
    drill.start()
    drill.wait_for_pages(20)
    for name, seconds in (("earlier", -step), ("later", step)):
        drill.start(**changed_python(tmp_path / name, WRONG_CLOCK.format(step=seconds)))
    for process in drill.started:
        drill.finish(process)
    assert drill.made() == {"crawl": 1, "extract": 1, "clean": 1}
    assert max(Counter(drill.web.paths()).values()) == 1
    check_whole(drill)


def test_a_stopped_owner_loses_its_lease_and_does_not_write_again(drill: Drill, tmp_path: Path) -> None:
    """The owner is stopped for longer than `SILENCE_SECONDS`. Another process takes over, then the owner continues."""
    skip_without_namespaces()
    short = short_leases(tmp_path / "short", SILENCE_SECONDS)
    first = drill.start(*NAMESPACES, **short)
    drill.wait_for_pages(20)
    owner = python_in(first)
    owner.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    second = drill.start(**short)
    until(lambda: len(drill.web.requests) >= 60)
    assert time.monotonic() - before >= SILENCE_SECONDS
    owner.send_signal(signal.SIGCONT)
    drill.finish(second)
    taken = {a.path: a.manifest.digest for a in Store(drill.root).all()}
    assert first.wait(timeout=300) == 0, drill.log
    assert "waiting to reuse its result" in drill.log
    assert {a.path: a.manifest.digest for a in Store(drill.root).all()} == taken
    assert drill.made() == {"crawl": 1, "extract": 1, "clean": 1}
    check_whole(drill)


def test_a_stopped_owner_on_this_machine_is_waited_for(drill: Drill, tmp_path: Path) -> None:
    """The other process can see that the owner lives, so it waits for any length of time."""
    short = short_leases(tmp_path / "short", SILENCE_SECONDS)
    first = drill.start(**short)
    drill.wait_for_pages(20)
    first.send_signal(signal.SIGSTOP)
    second = drill.start(**short)
    until(lambda: "waiting to reuse it" in drill.log)
    time.sleep(2 * SILENCE_SECONDS)
    assert second.poll() is None
    assert len(drill.web.requests) < 60
    first.send_signal(signal.SIGCONT)
    drill.finish(first)
    drill.finish(second)
    assert drill.made() == {"crawl": 1, "extract": 1, "clean": 1}
    check_whole(drill)


def test_storage_that_is_moved_in_the_middle_of_a_run_continues_there(drill: Drill) -> None:
    first = drill.start()
    drill.wait_for_pages(60)
    first.kill()
    first.wait()
    new = drill.folder / "elsewhere" / "storage"
    new.parent.mkdir()
    shutil.move(str(drill.root), str(new))
    drill.finish(root=new)
    (run,) = runs.all_runs(new)
    assert run.status() == "finished"
    assert not drill.root.exists(), "nothing is made at the old place"
    assert max(Counter(drill.web.paths()).values()) <= 2, "a unit that was under way is fetched again"
    copy = drill.folder / "copy"
    shutil.copytree(new, copy)
    shutil.rmtree(new)
    drill.finish(root=copy)
    assert drill.made(copy) == {"crawl": 1, "extract": 1, "clean": 1}
    assert drill.bessemer("gc", root=copy).returncode == 0
    assert not new.exists()
    check_whole(drill, copy)


def test_kills_during_and_after_a_crawl_repeat_nothing_that_was_done(drill: Drill, tmp_path: Path) -> None:
    killing = "import os, signal\nfrom bessemer.artifacts import manifest\n"
    killing += "manifest.Manifest.write = lambda self, folder: os.kill(os.getpid(), signal.SIGKILL)\n"
    for number in (20, 50, 80):
        process = drill.start()
        drill.wait_for_pages(number)
        process.kill()
        process.wait()
    process = drill.start(**changed_python(tmp_path / "struck", killing))
    assert process.wait(timeout=300) == -signal.SIGKILL, drill.log
    asked = len(drill.web.requests)
    drill.finish()
    assert len(drill.web.requests) == asked, "the crawl had ended, and asks for nothing again"
    check_whole(drill)


def test_gc_in_the_middle_of_runs_deletes_nothing_that_they_use(drill: Drill) -> None:
    """`gc` runs again and again while a run makes artifacts and others reuse them."""
    ended = threading.Event()
    answers: list[subprocess.CompletedProcess[str]] = []

    def collect() -> None:
        while not ended.is_set():
            answers.append(drill.bessemer("gc", "--yes"))
            answers.append(drill.bessemer("gc", "--budget", "0B", "--yes"))
            time.sleep(1.0)

    drill.start()
    until(lambda: drill.root.exists())
    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for process in [*drill.started, drill.start()]:
            drill.finish(process)
    finally:
        ended.set()
        collector.join()
    assert answers
    assert all(answer.returncode == 0 and "Traceback" not in answer.stderr for answer in answers)
    check_whole(drill)
    assert drill.made()["crawl"] == 1


def test_an_input_that_changes_all_the_time_never_ends_up_under_a_wrong_fingerprint(tmp_path: Path) -> None:
    """A file alternates between two contents. Each artifact must have the content from which its fingerprint was
    made."""
    (tmp_path / "recipe.yaml").write_text(
        "name: drill\nnum_workers: 0\nstages:\n  ingest: {paths: [data], split: {validation: 0}}\n"
    )
    data = tmp_path / "data"
    data.mkdir()
    contents = {word: f"All lines of this file say {word}.\n" * 4000 for word in ("left", "down")}
    file = data / "a.txt"
    file.write_text(contents["left"])
    ended = threading.Event()

    def alternate() -> None:
        while not ended.is_set():
            for content in contents.values():
                file.write_text(content)
                time.sleep(0.3)

    thread = threading.Thread(target=alternate)
    thread.start()
    command = [sys.executable, "-m", "bessemer", "run", "recipe.yaml", f"storage_path={tmp_path / 'runs'}"]
    codes = []
    try:
        for _ in range(6):
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            codes.append(done.returncode)
            assert done.returncode in (0, 1), done.stderr
            assert "Traceback" not in done.stderr
            assert done.returncode == 0 or "changed" in done.stderr, done.stderr
    finally:
        ended.set()
        thread.join()
    words: dict[str, str] = {}
    for word, content in contents.items():
        file.write_text(content)
        done = subprocess.run([*command, "--rerun", "ingest"], cwd=tmp_path, capture_output=True, text=True, check=True)
        artifact = max(Store(tmp_path / "runs").all(), key=lambda found: found.manifest.created_at)
        words[artifact.manifest.fingerprint] = word
    kept = json.dumps(codes)
    for artifact in Store(tmp_path / "runs").all():
        texts = "".join(text for part in artifact.parts() for text in pq.read_table(part)["text"].to_pylist())
        assert words[artifact.manifest.fingerprint] in texts, kept
        assert all(other not in texts for other in contents if other != words[artifact.manifest.fingerprint])

"""A run that was suspended for longer than its lease does not write again. Its Ray workers do not write either.

The first run is in its own PID namespace, like a container, so a second run cannot see whether it lives. All processes
of the first run are stopped with SIGSTOP, and the second takes over. The processes of the first then continue, while
the second works or after it. Two kinds of work are interrupted: a unit of `clean` in a Ray Data actor, and training in
a Ray Train worker. Run by `make drill`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.drills.struck_run import NAMESPACES, Runner, short_leases, skip_without_namespaces, wait_for, wait_until_gone

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.store import Store

pytestmark = pytest.mark.drill

SILENCE_SECONDS = 12.0
WITHOUT_RAY = ("clean.num_workers=0", "pretrain.num_workers=0")
"""Settings that do not change the result."""
RECIPE = """
name: suspended
seed: 1
num_workers: 0
stages:
  ingest: {paths: [texts.jsonl], split: {validation: 0, test: 0}}
  clean: {rules: [normalise, {function: {file: rules.py, name: gate}}], num_workers: 1}
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain:
    model:
      {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 64}
    max_seq_length: 64
    global_batch_size: 8
    dtype: float32
    num_threads: 1
    checkpoint_interval_seconds: 0.5
    max_steps: 250
    num_workers: 1
"""
GATE = """
import time
from pathlib import Path

def gate(text):
    if "number 199" in text:
        try:
            Path({waiting!r}).touch(exist_ok=False)
        except FileExistsError:
            return text
        while not Path({gate!r}).exists():
            time.sleep(0.05)
    return text
"""
"""The first process that cleans the last document waits until a file exists."""


def write_recipe(folder: Path) -> None:
    texts = (f"This is the text with the number {n}, and it is short." for n in range(200))
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    (folder / "rules.py").write_text(GATE.format(waiting=str(folder / "waiting"), gate=str(folder / "gate")))
    (folder / "recipe.yaml").write_text(RECIPE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    skip_without_namespaces()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in short_leases(tmp_path / "python", SILENCE_SECONDS).items():
        monkeypatch.setenv(name, value)
    write_recipe(tmp_path)
    return tmp_path


@pytest.fixture
def runner(folder: Path) -> Iterator[Callable[..., Runner]]:
    """`runner("clean.num_workers=0")` is a run of the recipe. All runs have the same storage path."""
    made = []

    def make(*settings: str) -> Runner:
        made.append(Runner(folder / "recipe.yaml", folder / "runs", *settings))
        return made[-1]

    yield make
    for one in made:
        one.end()


def suspend(run: Runner) -> list[psutil.Process]:
    """Stops all processes of a run except `unshare`. Returns them, the driver first."""
    found = [one for one in run.processes() if one.name() != "unshare"]
    for process in found:
        process.send_signal(signal.SIGSTOP)
    found.sort(key=lambda process: process.cmdline()[1:3] != ["-m", "bessemer"])
    assert found[0].cmdline()[1:3] == ["-m", "bessemer"]
    return found


def resume(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended after it had continued for the first time
            process.send_signal(signal.SIGCONT)


def check_end(first: Runner, process: subprocess.Popen[bytes], suspended: list[psutil.Process]) -> None:
    """Continues the run. Checks that it reuses the results of the other run, and changes no file of them."""
    made = files(first.root)
    resume(suspended)
    assert process.wait(timeout=120) == 0, first.said()
    wait_until_gone(first)
    assert "waiting to reuse its result" in first.said(), first.said()
    assert "Traceback" not in first.said(), first.said()
    assert files(first.root) == made, "the suspended run changed files of the other"


def files(root: Path) -> dict[str, tuple[int, int]]:
    """(inode, time of change) of each file in the folders of the artifacts, which must match their manifests.

    The folder `work` is left out. Ray Train keeps its own files there, and the last run deletes it.
    """
    found = {}
    for artifact in Store(root).all():
        artifact.verify(hashes=True)
        for path in artifact.path.rglob("*"):
            if path.is_file() and not lease.is_part(path) and "work" not in path.relative_to(artifact.path).parts:
                assert not path.name.startswith(storage.TEMPORARY)
                found[str(path)] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def test_a_unit_in_a_suspended_ray_worker_is_not_published(folder: Path, runner: Callable[..., Runner]) -> None:
    """The worker continues before the driver, so the fence alone keeps it from publishing."""
    first, second = runner(), runner(*WITHOUT_RAY)
    process = first.start(*NAMESPACES)
    wait_for(lambda: (folder / "waiting").exists(), process, first)
    driver, *others = suspend(first)
    began = time.monotonic()
    second.finish()
    assert time.monotonic() - began >= SILENCE_SECONDS
    (folder / "gate").touch()
    resume(others)
    time.sleep(3.0)
    check_end(first, process, [driver])


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The model of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("calm")
    write_recipe(folder)
    (folder / "gate").touch()
    run = Runner(folder / "recipe.yaml", folder / "runs", *WITHOUT_RAY)
    run.finish()
    return run.models("pretrain")


@pytest.mark.parametrize("when", ["workers at once", "all at once", "all afterwards"])
def test_training_in_suspended_ray_workers_is_not_published(
    folder: Path, runner: Callable[..., Runner], calm: dict[str, str], when: str
) -> None:
    first, second = runner("clean.num_workers=0"), runner(*WITHOUT_RAY)
    (folder / "gate").touch()
    process = first.start(*NAMESPACES)
    wait_for(lambda: first.newest_step("pretrain") > 0, process, first)
    driver, *others = suspend(first)
    assert not first.models("pretrain"), "the training ended before the run was suspended"
    other = second.start()
    wait_for(lambda: taken_over(first.root), other, second)
    resume({"workers at once": others, "all at once": [driver, *others], "all afterwards": []}[when])
    assert other.wait(timeout=300) == 0, second.said()
    check_end(first, process, [driver, *others])
    assert list(first.models("pretrain").values()) == list(calm.values())


def taken_over(root: Path) -> bool:
    """Whether a second process has begun to work on the model."""
    return any('"attempt": 2' in file.read_text() for file in root.glob("artifacts/pretrain/*/attempts.jsonl"))

"""Nodes join and leave during a training run: it has one worker, then two, then one again after a node dies.

The run requests one to two workers. It starts on a cluster of one CPU. A second node joins, and the group grows. Then
the node's agent (the raylet) is killed with SIGKILL, and the group shrinks. Every step must have the same samples as in
an uninterrupted run. The learning rates are so small that the loss of a step depends only on its samples. Run by
`make drill`; prints each event with its time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer import storage
from bessemer.runner import runs

pytestmark = pytest.mark.drill

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "red", "green", "blue", "river", "stone", "house"]
RECIPE = """
name: elastic
seed: 1
num_workers: 0
stages:
  ingest: {paths: [texts.txt], split: {validation: 0.05}}
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain:
    model: {size: nano}
    max_seq_length: 64
    global_batch_size: 16
    max_steps: 700
    dtype: float32
    num_threads: 1
    log_interval: 1
    checkpoint_interval_seconds: 2
    spike_sigmas: null
    learning_rate: 1e-7
    embedding_learning_rate: 1e-7
    vector_learning_rate: 1e-7
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    lines = (f"{' '.join(WORDS[(i * k) % len(WORDS)] for k in range(1, 60))} {i}." for i in range(1500))
    (tmp_path / "texts.txt").write_text("\n\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A Ray cluster with one CPU, to which nodes can be added."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    yield cluster
    cluster.shutdown()


def losses(root: Path) -> dict[int, float]:
    folder = runs.find(root, None).artifact_folder("pretrain") / "metrics"
    return {
        line["step"]: line["metrics"]["train/loss"]
        for file in sorted(folder.glob("*.jsonl"))
        for line in storage.read_lines(file)
        if "train/loss" in line["metrics"]
    }


def checkpoint(root: Path) -> tuple[int, int]:
    """(step, number of workers) of the newest checkpoint."""
    newest = (0, 0)
    for file in root.glob("artifacts/pretrain/*/checkpoints/step-*/manifest.json"):
        manifest = storage.read_json(file)
        if manifest:
            newest = max(newest, (manifest["step"], manifest["facts"]["num_workers"]))
    return newest


def wait_for(what: str, happened: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while not happened():
        assert process.poll() is None, f"the run ended before {what}: {log.read_text()[-3000:]}"
        assert time.monotonic() - began < 240, f"no {what} within 240 s: {log.read_text()[-3000:]}"
        time.sleep(0.2)


def test_one_to_two_to_one_workers_as_nodes_come_and_go(recipe: Path, nodes: Any, tmp_path: Path) -> None:
    calm, storm, log = tmp_path / "calm", tmp_path / "storm", tmp_path / "log.txt"
    command = [sys.executable, "-m", "bessemer", "run", str(recipe)]
    subprocess.run([*command, f"storage_path={calm}"], check=True, capture_output=True)

    began = time.monotonic()
    story: list[str] = []

    def tell(what: str) -> None:
        step, workers = checkpoint(storm)
        story.append(f"{time.monotonic() - began:5.1f} s, step {step}, {workers} workers: {what}")

    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, f"storage_path={storm}", f"cluster.address={nodes.address}", "pretrain.num_workers=[1, 2]"],
            stdout=file,
            stderr=file,
        )
    try:
        wait_for("a checkpoint", lambda: checkpoint(storm)[0] > 0, process, log)
        tell("a node joins")
        second = nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
        wait_for("two workers", lambda: checkpoint(storm)[1] == 2, process, log)
        tell("its agent is killed")
        nodes.remove_node(second, allow_graceful=False)
        step = checkpoint(storm)[0]
        wait_for("one worker", lambda: checkpoint(storm)[1] == 1 and checkpoint(storm)[0] > step, process, log)
        tell("one worker continues")
        assert process.wait(timeout=600) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
        print(*story, sep="\n")
    expected, found = losses(calm), losses(storm)
    assert found.keys() == expected.keys()
    worst = max(abs(found[step] / expected[step] - 1) for step in expected)
    others = sorted(abs(expected[step] / expected[step + 1] - 1) for step in range(1, len(expected)))
    usual = others[len(others) // 2]
    print(f"{len(found)} steps; the losses of a step are {worst:.1e} apart at most, of two steps {usual:.1e}")
    assert worst < 2e-6
    assert others[len(others) // 20] > 10 * worst, "the losses of different samples should differ"

"""If any process is killed at any moment, the same command finishes the job with the same result.

In one small run of the quickstart recipe up to its pre-training, the driver, a Ray worker or the whole process group is
killed with SIGKILL at a random moment, nine times. Prints each killed process with its time. Run by `make drill`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from bessemer import storage
from bessemer.runner import runs
from bessemer.runner.runs import Run

pytestmark = pytest.mark.drill

KILLS = 9
TARGETS = ("driver", "worker", "group")
DATA_STAGES = ("extract", "clean", "dedup", "tokenizer", "tokenize")
SMALL = [
    "--until", "pretrain", "docsite.max_pages=120", "tokenizer.vocab_size=1024", "pretrain.model.size=nano",
    "pretrain.max_seq_length=128", "pretrain.num_tokens=100000", "pretrain.checkpoint_interval_seconds=1",
]  # fmt: skip


def command(recipe: Path, root: Path) -> list[str]:
    return [sys.executable, "-m", "bessemer", "run", str(recipe), *SMALL, f"storage_path={root}"]


def start(recipe: Path, root: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command(recipe, root), stdout=file, stderr=file, start_new_session=True)


def finish(recipe: Path, root: Path, log: Path) -> None:
    process = start(recipe, root, log)
    assert process.wait(timeout=1200) == 0, log.read_text()[-4000:]


def strike(process: subprocess.Popen[bytes], target: str) -> str:
    """Kills the target and returns its name. Without a worker, kills the driver instead."""
    family = psutil.Process(process.pid).children(recursive=True)
    named = {p: " ".join(p.cmdline()[:1]) for p in family}
    ours = [p for p, name in named.items() if name.startswith(("ray::MapWorker", "ray::RayTrainWorker"))]
    workers = ours or [p for p, name in named.items() if name.startswith("ray::")]  # else Ray's own
    if target == "worker" and workers:
        victim = random.choice(workers)
        name = victim.cmdline()[0]
        victim.kill()
        return name
    if target == "group":
        os.killpg(process.pid, signal.SIGKILL)
        return "process group"
    process.kill()
    return "driver"


def steps(root: Path) -> dict[int, Any]:
    """Step -> loss of pre-training, over all attempts. Fails if a step has two different losses."""
    found: dict[int, Any] = {}
    folder = runs.find(root, None).artifact_folder("pretrain") / "metrics"
    for file in sorted(folder.glob("*.jsonl")):
        for line in storage.read_lines(file):
            if "train/loss" in line["metrics"]:
                loss = line["metrics"]["train/loss"]
                assert found.setdefault(line["step"], loss) == loss, f"step {line['step']} has two losses"
    return found


def pages(run: Run) -> list[tuple[str, str]]:
    index = pq.read_table(run.artifact_folder("crawl") / "data" / "index.parquet")
    return sorted(zip(index["url"].to_pylist(), index["digest"].to_pylist(), strict=True))


def digests(run: Run) -> dict[str, str]:
    return {
        stage: json.loads((run.artifact_folder(stage) / "manifest.json").read_text())["digest"] for stage in DATA_STAGES
    }


def test_kills_change_nothing(tmp_path: Path, repository: Path) -> None:
    seed = int(os.environ.get("BESSEMER_DRILL_SEED", "1"))
    random.seed(seed)
    recipe = repository / "pipelines" / "quickstart" / "recipe.yaml"
    calm, storm, log = tmp_path / "calm", tmp_path / "storm", tmp_path / "log.txt"
    began = time.monotonic()
    finish(recipe, calm, log)
    duration = time.monotonic() - began

    story = []
    for number in range(KILLS):
        process = start(recipe, storm, log)
        time.sleep(random.uniform(1.0, max(8.0, duration / 4)))
        if process.poll() is not None:
            assert process.returncode == 0, log.read_text()[-4000:]
            story.append(f"{number + 1:2d}. nothing left to kill: the run had finished")
            break
        died = strike(process, TARGETS[number % len(TARGETS)])
        time.sleep(1.0)
        if process.poll() is None and died.startswith("ray::"):
            time.sleep(random.uniform(1.0, 5.0))
            process.kill()
        process.wait()
        states = {name: stage["event"] for name, stage in runs.find(storm, None).stages().items()}
        under_way = [name for name, state in states.items() if state == "stage_started"]
        story.append(f"{number + 1:2d}. {died} during {', '.join(under_way) or 'start'}")
    print(f"seed {seed}, uninterrupted {duration:.0f} s", *story, sep="\n")
    finish(recipe, storm, log)

    run = runs.find(storm, None)
    assert run.status() == "finished"
    found = pages(run)
    assert found == pages(runs.find(calm, None)), "the crawl holds other pages"
    assert not [url for url, count in Counter(url for url, _ in found).items() if count > 1]

    # fetch times differ between crawls, so the uninterrupted run gets the pages of the interrupted one
    copy = tmp_path / "copy"
    for stage in ("docsite", "crawl"):
        source = run.artifact_folder(stage)
        target = copy / source.relative_to(storm)
        target.parent.mkdir(parents=True)
        subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    finish(recipe, copy, log)
    calm_again = runs.find(copy, None)
    assert digests(run) == digests(calm_again)
    assert steps(storm) == steps(copy), "training saw other batches"

    with sqlite3.connect(storm / "mlflow.db") as database:
        twice = database.execute(
            "select run_uuid, key, step, count(*) from metrics group by run_uuid, key, step having count(*) > 1"
        ).fetchall()
    assert not twice, f"MLflow has points twice: {twice[:5]}"

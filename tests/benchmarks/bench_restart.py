"""Measures the time from the death of a training worker to the next new step.

    python -m tests.benchmarks.bench_restart [--kills 2]

A small recipe trains on Ray Train, and its worker is killed with SIGKILL in the middle. The result is the time to the
first step that was not done before. It includes the repetition of the steps since the last checkpoint.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bessemer import storage

RECIPE = """
name: restart
stages:
  ingest: {paths: [documents], split: {validation: 0.1}}
  tokenizer: {vocab_size: 2048}
  tokenize:
  pretrain: {model: {size: tiny}, global_batch_size: 8, max_steps: 100000, log_interval: 1}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "documents").mkdir()
        for number in range(200):
            words = " ".join(f"{number} and {other} are {number + other}." for other in range(400))
            (folder / "documents" / f"{number}.txt").write_text(words)
        (folder / "recipe.yaml").write_text(RECIPE)
        command = [sys.executable, "-m", "bessemer", "run", "recipe.yaml"]
        with (folder / "log.txt").open("w") as log:
            run = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            wait_for(folder, 30, run)
            for number in range(arguments.kills):
                time.sleep(10.0 + 7 * number)  # not at the same distance from a checkpoint
                done = last_step(folder)
                victim = next(
                    p
                    for p in psutil.Process(run.pid).children(recursive=True)
                    if p.cmdline()[:1] and p.cmdline()[0].startswith("ray::RayTrainWorker")
                )
                began = time.perf_counter()
                victim.kill()
                wait_for(folder, done + 1, run)
                print(
                    f"killed after step {done}: the next new step came {time.perf_counter() - began:.1f} s later (20 s)"
                )
        finally:
            run.terminate()
            run.wait(timeout=60)


def wait_for(folder: Path, step: int, run: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while last_step(folder) < step:
        assert run.poll() is None, (folder / "log.txt").read_text()
        assert time.monotonic() < deadline, (folder / "log.txt").read_text()
        time.sleep(0.05)


def last_step(folder: Path) -> int:
    files = folder.glob("runs/artifacts/pretrain/*/metrics/*.jsonl")
    return max((line["step"] for file in files for line in storage.read_lines(file)), default=0)


if __name__ == "__main__":
    main()

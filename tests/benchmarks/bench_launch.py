"""Tokens per second of the same training loop on Ray Train and with torchrun, after warm-up.

    python -m tests.benchmarks.bench_launch [--pairs 5] [--workers 1]

Pairs are interleaved, and the median of their ratios counts. Both run `Trainer` with the same settings and the same
numbers of processes and threads.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from bessemer import environment

environment.prepare()

STEPS, WARM_UP, ROWS = 25, 5, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.workers)
    if arguments.child:
        import torch.distributed as dist

        dist.init_process_group("gloo")
        speed = measure(arguments.child, threads)
        if dist.get_rank() == 0:
            print(f"speed {speed}")
        dist.destroy_process_group()
        return
    from tests.benchmarks.training import random_store

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_store(folder / "tokens")
        pairs = []
        for number in range(arguments.pairs):
            ray = on_ray(folder, arguments.workers, threads, number)
            torchrun = by_torchrun(folder, arguments.workers)
            pairs.append((ray, torchrun))
            print(f"Ray Train {ray:9.0f} tokens/s   torchrun {torchrun:9.0f} tokens/s   ratio {ray / torchrun:.3f}")
    ratio = statistics.median(ray / torchrun for ray, torchrun in pairs)
    print(f"median ratio on {arguments.workers} worker(s) of {threads} thread(s): {ratio:.3f} (at least 0.95)")


def measure(folder: Path, threads: int, worker: Any = None) -> float:
    """Tokens per second of this process group, after some warm-up steps."""
    import torch
    from tests.benchmarks.training import CPU, NEVER, make_trainer

    from bessemer.model.config import ModelShape
    from bessemer.model.memory import keep_freed_memory
    from bessemer.tokens.store import TokenStore
    from bessemer.train.workers import Workers

    keep_freed_memory()
    torch.set_num_threads(threads)
    store = TokenStore.open(folder / "tokens")
    config = ModelShape(size="tiny").resolve(vocab_size=store.vocab_size, max_seq_length=512)
    settings = {"global_batch_size": ROWS, "max_steps": NEVER}
    workers = Workers.of_process_group(CPU)
    trainer = make_trainer(store, config, folder / "none", settings, micro_batch_size=ROWS, workers=workers)
    for _ in range(WARM_UP):
        trainer.step()
    began = time.perf_counter()
    for _ in range(STEPS):
        trainer.step()
    return STEPS * ROWS * 512 / (time.perf_counter() - began)


def on_ray(folder: Path, workers: int, threads: int, number: int) -> float:
    """Starts a new cluster for each call, like `bessemer run`."""
    from bessemer.recipe.recipe import ClusterSettings
    from bessemer.runner.cluster import Cluster
    from bessemer.stages.base import Context, Draft
    from bessemer.stages.engine.training_workers import run_on_workers

    cluster = Cluster(ClusterSettings(object_store_bytes=128 << 20))
    ray = cluster.start()
    try:
        draft = Draft(path=folder / f"draft-{number}", fingerprint=f"{number:032d}", attempt=1)
        context = Context(
            seed=0,
            num_workers=workers,
            log=logging.getLogger("bench"),
            stop_file=folder / "stop",
            start_ray=lambda: ray,
        )
        speed: float = run_on_workers(
            partial(measure, folder, threads),
            context,
            draft,
            num_workers=workers,
            num_threads=threads,
            on_step=lambda step, figures: None,
        )
        return speed
    finally:
        cluster.stop()


def by_torchrun(folder: Path, workers: int) -> float:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}", "-m"]
    command += ["tests.benchmarks.bench_launch", "--workers", str(workers), "--child", str(folder)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(next(line for line in printed.splitlines() if line.startswith("speed ")).split()[1])


if __name__ == "__main__":
    main()

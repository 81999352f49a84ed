"""Compares two workers with one: whether the loss curves are equal, and the speed-up.

    python -m tests.benchmarks.bench_workers [--steps 200]

A 4-layer model of width 256 trains in fp32 on the text of `bench_learning`, with one thread per worker: first in one
process, then in two processes of a gloo group, with the same rows per step. Prints the largest relative difference
between the losses of a step (at most 1e-3), and the tokens per second of both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from bessemer import environment

environment.prepare()

from tests.benchmarks.bench_learning import tokens  # noqa: E402
from tests.benchmarks.training import CPU, make_trainer  # noqa: E402

from bessemer.model.config import ModelShape  # noqa: E402
from bessemer.model.memory import keep_freed_memory  # noqa: E402
from bessemer.tokens.store import TokenStore  # noqa: E402
from bessemer.train.workers import Workers  # noqa: E402

LENGTH, ROWS, VOCABULARY, PLANNED = 256, 8, 8192, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=Path, help="keep the tokens here, for the next call")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.tokens or Path(folder) / "tokens"
        tokens(place)
        curves, speeds = {}, {}
        for size in (1, 2):
            out = Path(folder) / f"{size}.json"
            torch.multiprocessing.spawn(train, (size, place, out, arguments.steps), nprocs=size)
            curves[size], speeds[size] = json.loads(out.read_text())
    worst = max(abs(two / one - 1) for one, two in zip(curves[1], curves[2], strict=True))
    print(
        f"{arguments.steps} steps in fp32, loss {curves[1][0]:.3f} to {curves[1][-1]:.3f}: the losses of one and two "
        f"workers are {worst:.1e} apart at most (at most 1e-3); {speeds[1]:.0f} and {speeds[2]:.0f} tokens/s with one "
        f"thread each, {speeds[2] / speeds[1]:.2f}x"
    )


def train(rank: int, size: int, place: Path, out: Path, steps: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{out}.rendezvous", rank=rank, world_size=size)
    config = ModelShape(size="tiny").resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH)
    trainer = make_trainer(
        TokenStore.open(place),
        config,
        out.parent / f"checkpoints-{size}",
        {"global_batch_size": ROWS, "max_steps": PLANNED, "spike_sigmas": None},
        micro_batch_size=4,
        workers=Workers.of_process_group(CPU),
        dtype=torch.float32,
    )
    curve = [trainer.step()[0]["train/loss"]]
    began = time.perf_counter()
    curve += [trainer.step()[0]["train/loss"] for _ in range(steps - 1)]
    speed = (steps - 1) * ROWS * LENGTH / (time.perf_counter() - began)
    if rank == 0:
        out.write_text(json.dumps([curve, speed]))
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

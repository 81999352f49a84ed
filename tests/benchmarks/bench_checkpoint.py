"""Measures how long saving stops training: a model of 100M parameters, one save per minute.

    python -m tests.benchmarks.bench_checkpoint [--seconds 60]

Saving stops training while the tensors are copied. A thread then writes the copy and slows the concurrent steps. The
printed time includes both: it is the additional time of a minute with a save over the same steps without one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bessemer import environment

environment.prepare()

from tests.benchmarks.training import NEVER, make_trainer, random_store  # noqa: E402

from bessemer.model.config import ModelShape  # noqa: E402
from bessemer.model.memory import keep_freed_memory  # noqa: E402
from bessemer.train.export import Exporter  # noqa: E402
from bessemer.train.loop import Trainer  # noqa: E402

VOCABULARY, LENGTH = 8192, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of an interval")
    parser.add_argument("--rounds", type=int, default=2, help="intervals with a save, and as many without")
    arguments = parser.parse_args()
    keep_freed_memory()
    config = ModelShape(size="small", num_hidden_layers=13).resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            random_store(Path(folder) / "tokens"),
            config,
            Path(folder) / "checkpoints",
            {"global_batch_size": 4, "max_steps": NEVER, "optimizer": "adamw"},
            micro_batch_size=4,
            lanes=False,
            export=Exporter(config),
        )
        for _ in range(3):
            trainer.step()
        began = time.perf_counter()
        trainer.step()
        steps = max(1, round(arguments.seconds / (time.perf_counter() - began)))
        plain, saving, stopped = [], [], []
        for _ in range(arguments.rounds):
            plain.append(interval(trainer, steps, save=False)[0])
            took, still = interval(trainer, steps, save=True)
            saving.append(took)
            stopped.append(still)
    print(
        f"{config.num_parameters() / 1e6:.0f}M parameters, {steps} steps: {min(plain):.2f} s without a save, "
        f"{min(saving):.2f} s with one ({100 * (min(saving) / min(plain) - 1):+.1f} %); stopped {min(stopped):.2f} s, "
        f"{100 * min(stopped) / arguments.seconds:.2f} % of {arguments.seconds:.0f} s (at most 2 %)"
    )


def interval(trainer: Trainer, steps: int, *, save: bool) -> tuple[float, float]:
    """(seconds for the given number of steps, seconds for which saving stopped training), with a save at the start."""
    began = time.perf_counter()
    still = 0.0
    if save:
        trainer._save()
        still = time.perf_counter() - began
    for _ in range(steps):
        trainer.step()
    took = time.perf_counter() - began
    trainer.checkpoints.wait()
    return took, still


if __name__ == "__main__":
    main()

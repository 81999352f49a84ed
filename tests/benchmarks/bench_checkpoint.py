"""How long does saving stop training? A model of 100M parameters, one save a minute.

    python -m tests.benchmarks.bench_checkpoint [--seconds 60]

Saving stops training while the tensors are copied; a thread writes the copy meanwhile and slows the steps beside it.
Both count: what is printed is the time that a minute with a save takes beyond the same steps without one.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import torch

from bessemer import environment

environment.prepare()

from tests.benchmarks.bench_train import LENGTH, VOCABULARY, random_store  # noqa: E402

from bessemer.model.config import ModelShape  # noqa: E402
from bessemer.model.hardware import choose_dtype  # noqa: E402
from bessemer.model.memory import keep_freed_memory  # noqa: E402
from bessemer.model.transformer import Transformer  # noqa: E402
from bessemer.tokens.store import TokenStore  # noqa: E402
from bessemer.train.checkpoint import Checkpoints  # noqa: E402
from bessemer.train.export import Exporter  # noqa: E402
from bessemer.train.loop import Pace, Trainer  # noqa: E402
from bessemer.train.objectives.causal import Causal  # noqa: E402
from bessemer.train.settings import TrainSettings, resolve  # noqa: E402
from bessemer.train.workers import Workers  # noqa: E402

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of an interval")
    parser.add_argument("--rounds", type=int, default=2, help="intervals with a save, and as many without")
    arguments = parser.parse_args()
    keep_freed_memory()
    config = ModelShape(size="small", num_hidden_layers=13).resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH)
    with tempfile.TemporaryDirectory() as folder:
        random_store(Path(folder) / "tokens")
        store, workers, log = TokenStore.open(Path(folder) / "tokens"), Workers(0, 1, CPU), logging.getLogger("bench")
        model = Transformer(config, compute_dtype=choose_dtype("auto", CPU))
        model.initialise(0)
        settings = TrainSettings.model_validate({"global_batch_size": 4, "max_steps": 10**6, "optimizer": "adamw"})
        trainer = Trainer(
            model,
            Causal(store, length=LENGTH, seed=0, validation_tokens=1),
            resolve(settings, config, train_tokens=store.num_tokens("train"), seed=0),
            Pace(micro_batch_size=4, validation_interval=10**6, log_interval=10**6, checkpoint_interval_seconds=1e9),
            workers=workers,
            checkpoints=Checkpoints(Path(folder) / "checkpoints", workers, log, export=Exporter(config).tensors),
            log=log,
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
    """Seconds for so many steps with one save at their beginning, and those that it stopped training."""
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

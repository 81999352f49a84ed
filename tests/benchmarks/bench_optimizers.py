"""Muon compared with a tuned AdamW: the number of steps to the same loss on held-out text, over several seeds.

    python -m tests.benchmarks.bench_optimizers [--steps 400] [--seeds 3] [--size nano]

AdamW is tuned. Embedding and gains have the same learning rates under both optimizers, as in track 3 of
modded-nanogpt, whose baseline this is (betas .9 / .9, 100 warm-up steps). The learning rate and weight decay of AdamW's
matrices are the best of a scan on seed 0. Muon's rate is the value of `auto`. AdamW trains for `--steps`, and Muon for
fractions of this number, each with a complete schedule. The number of steps at which Muon reaches AdamW's final loss is
interpolated. The text is that of `bench_learning`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bessemer import environment

environment.prepare()

from tests.benchmarks.bench_learning import tokens  # noqa: E402
from tests.benchmarks.training import make_trainer  # noqa: E402

from bessemer.model.config import ModelShape  # noqa: E402
from bessemer.model.memory import keep_freed_memory  # noqa: E402
from bessemer.tokens.store import TokenStore  # noqa: E402

LENGTH, ROWS, VOCABULARY = 128, 16, 8192
RATES, DECAYS = (2.5e-4, 5e-4, 1e-3, 2e-3), (1.0, 0.1)
SHARES = (0.5, 0.65, 0.8, 1.0)
HELD_OUT = 262_144


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--tokens", type=Path, help="keep the tokens here, for the next call")
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = tokens(arguments.tokens or Path(folder) / "tokens")

        def loss(seed: int, steps: int, **settings: Any) -> float:
            return train(store, arguments.size, seed, steps, settings)

        def adamw(rate: float, decay: float) -> dict[str, Any]:
            own = {"optimizer": "adamw", "learning_rate": rate, "weight_decay": decay}
            shared = {"embedding_learning_rate": 0.03, "vector_learning_rate": 0.01}
            return own | shared | {"beta1": 0.9, "beta2": 0.9, "warmup_steps": 100}

        scan = {}
        for rate, decay in itertools.product(RATES, DECAYS):
            scan[rate, decay] = loss(0, arguments.steps, **adamw(rate, decay))
            print(f"AdamW, rate {rate:g}, decay {decay:g}: {scan[rate, decay]:.4f}", flush=True)
        best = min(scan, key=lambda key: scan[key])
        ratios = []
        for seed in range(arguments.seeds):
            theirs = scan[best] if seed == 0 else loss(seed, arguments.steps, **adamw(*best))
            ours = {share: loss(seed, round(share * arguments.steps)) for share in SHARES}
            share = float(np.interp(-theirs, [-ours[s] for s in SHARES], SHARES))
            ratios.append(1 / share)
            told = ", ".join(f"{value:.4f} at {share:.0%}" for share, value in ours.items())
            print(
                f"seed {seed}: AdamW {theirs:.4f} in {arguments.steps} steps; Muon {told}: {ratios[-1]:.2f}x",
                flush=True,
            )
    spread = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
    print(
        f"{arguments.size}, {ROWS} x {LENGTH} tokens a step, AdamW at rate {best[0]:g} and decay {best[1]:g}: it needs "
        f"{statistics.mean(ratios):.2f}x the steps of Muon (standard deviation {spread:.2f} over {len(ratios)} seeds)"
    )


def train(store: TokenStore, size: str, seed: int, steps: int, settings: dict[str, Any]) -> float:
    """The loss on held-out text after a complete run."""
    config = ModelShape.model_validate({"size": size}).resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH)
    given = {"global_batch_size": ROWS, "max_steps": steps, "spike_sigmas": None} | settings
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            store, config, Path(folder), given, micro_batch_size=32, seed=seed, validation_tokens=HELD_OUT
        )
        while trainer.progress.step < steps:
            trainer.step()
        return trainer.validate()["loss"]


if __name__ == "__main__":
    main()

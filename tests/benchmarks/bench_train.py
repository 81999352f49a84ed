"""Training speed compared with `transformers`.

    python -m tests.benchmarks.bench_train [--rounds 3] [--hidden-size 256] [--layers 4]

Ours is the whole `Trainer` as in `pretrain`, including data and optimizer. The peer is `Qwen3ForCausalLM` of the same
shape with a plain AdamW loop, in fp32 (its default) and in bf16. Each runs in a separate process: ours with the
environment of Bessemer's processes, the peer with its defaults. The rounds are interleaved, because other programs may
use the machine. The best round of each counts. Tokens are random, because speed does not depend on them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tests.benchmarks.training import CPU, NEVER, make_trainer, random_store

from bessemer import environment
from bessemer.model.config import ModelConfig, ModelShape
from bessemer.model.hardware import choose_dtype
from bessemer.model.memory import keep_freed_memory
from bessemer.tokens.store import TokenStore

VOCABULARY, LENGTH, ROWS = 8192, 512, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="steps timed in each round")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    arguments = parser.parse_args()
    shape = ModelShape(hidden_size=arguments.hidden_size, num_hidden_layers=arguments.layers)
    config = shape.resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH)
    dtype = choose_dtype("auto", CPU)
    with tempfile.TemporaryDirectory() as folder:
        random_store(Path(folder) / "tokens", vocabulary=VOCABULARY)
        contestants = {
            f"bessemer, Muon, {name(dtype)}": Contestant(ours, config, Path(folder), dtype, "muon"),
            f"bessemer, AdamW, {name(dtype)}": Contestant(ours, config, Path(folder), dtype, "adamw"),
            "transformers, AdamW, float32": Contestant(peer, config, torch.float32),
            "transformers, AdamW, bfloat16": Contestant(peer, config, torch.bfloat16),
        }
        best = dict.fromkeys(contestants, float("inf"))
        for _ in range(arguments.rounds):
            for title, contestant in contestants.items():
                best[title] = min(best[title], contestant.run(arguments.steps))
        for contestant in contestants.values():
            contestant.end()
    print(
        f"{config.num_parameters() / 1e6:.2f}M parameters, {LENGTH} tokens x {ROWS} rows, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {metadata.version('transformers')}"
    )
    speeds = {title: arguments.steps * ROWS * LENGTH / seconds for title, seconds in best.items()}
    first = next(iter(speeds.values()))
    for title, speed in speeds.items():
        flops = config.flops_per_token(LENGTH) * speed / 1e9
        print(f"{title:32} {speed:9.0f} tokens/s  {flops:6.0f} GFLOP/s  ours is {first / speed:.2f}x")


class Contestant:
    """A process that prepares `make(*arguments)` and measures its steps on request."""

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        outside = dict(os.environ)
        if make is ours:
            environment.prepare()  # a spawned process inherits it from the start, like our processes
        try:
            self._process = context.Process(target=serve, args=(theirs, make, arguments), daemon=True)
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(outside)
        self._pipe.recv()

    def run(self, steps: int) -> float:
        """Seconds for the given number of steps."""
        self._pipe.send(steps)
        seconds: float = self._pipe.recv()
        return seconds

    def end(self) -> None:
        self._pipe.send(0)
        self._process.join()


def serve(pipe: Connection, make: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> None:
    step = make(*arguments)
    step()
    step()
    pipe.send("ready")
    while steps := pipe.recv():
        started = time.perf_counter()
        for _ in range(steps):
            step()
        pipe.send(time.perf_counter() - started)


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def ours(config: ModelConfig, folder: Path, dtype: torch.dtype, optimizer: str) -> Callable[[], object]:
    keep_freed_memory()
    settings = {"global_batch_size": ROWS, "max_steps": NEVER, "optimizer": optimizer}
    store = TokenStore.open(folder / "tokens")
    return make_trainer(store, config, folder / optimizer, settings, micro_batch_size=ROWS, dtype=dtype).step


def peer(config: ModelConfig, dtype: torch.dtype) -> Callable[[], object]:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=config.tie_word_embeddings,
        )
    ).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main()

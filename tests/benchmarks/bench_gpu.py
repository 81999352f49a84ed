"""Model-flops utilisation on a GPU: our trainer, unsharded and sharded, compared with a plain `transformers` loop.

    python -m tests.benchmarks.bench_gpu [--sizes medium 1b] [--length 2048] [--rows 16] [--steps 20]

For each size, separate processes run ours (the whole `Trainer`, compiled, with the fastest attention kernel), ours
sharded by FSDP2 on one GPU, and `Qwen3ForCausalLM` of the same shape with torch's fused AdamW and its default
attention. Utilisation = tokens/s x (6 N + 12 L H d T) / peak. N is the number of parameters that multiply every token
(with the head, without the embedding). The formula counts the full square of attention and no recomputation. The peak
is that of the data sheet for dense bf16. Targets on one H200: 42 % at 350M and 52 % at 1B. Without a GPU it prints a
message and exits with code 0. `--device cpu` runs the same code on a small shape, as a test.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bessemer import environment

environment.prepare()

from tests.benchmarks.training import NEVER, make_trainer, random_store  # noqa: E402

from bessemer.model import attention  # noqa: E402
from bessemer.model.config import ModelConfig, ModelShape  # noqa: E402
from bessemer.model.hardware import peak_flops, peak_memory, should_compile  # noqa: E402
from bessemer.model.transformer import Transformer  # noqa: E402
from bessemer.train.sharding import shard  # noqa: E402
from bessemer.train.workers import Workers  # noqa: E402

VOCABULARY = 32_768
WARM_UP = 5
DTYPE = torch.bfloat16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["medium", "1b"])
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=64, help="rows per step")
    parser.add_argument("--micro", type=int, default=16, help="rows per micro-batch")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("skipped: this machine has no GPU that torch can use")
        return 0
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if arguments.device == 'cuda' else 'CPU'}")
    for size in arguments.sizes:
        config = ModelShape.model_validate({"size": size}).resolve(
            vocab_size=VOCABULARY, max_seq_length=arguments.length
        )
        print(f"{size}: {config.num_parameters() / 1e6:.0f}M parameters, {arguments.rows} x {arguments.length} tokens")
        speeds = {}
        for name, contestant in {"bessemer": ours, "bessemer, FSDP2": ours_sharded, "transformers": peer}.items():
            speeds[name], told = apart(contestant, config, arguments)
            print(f"  {name:16} {told}", flush=True)
        if speeds["bessemer"] and speeds["transformers"]:
            print(f"  ours is {speeds['bessemer'] / speeds['transformers']:.2f}x")
    return 0


def apart(contestant: Callable[..., Any], config: ModelConfig, arguments: argparse.Namespace) -> tuple[float, str]:
    """(tokens per second, line to print) of a contestant, which runs in a separate process."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(theirs, contestant, config, arguments))
    process.start()
    process.join()
    return pipe.recv() if pipe.poll() else (0.0, f"failed with exit code {process.exitcode}")


def serve(pipe: Any, contestant: Callable[..., Any], config: ModelConfig, arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        step, note = contestant(config, arguments, device, Path(folder))
        for _ in range(WARM_UP):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(arguments.steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    speed = arguments.steps * arguments.rows * arguments.length / seconds
    flops, peak = speed * config.flops_per_token(arguments.length), peak_flops(device, DTYPE)
    share = f"{flops / peak:.1%} of {peak / 1e12:.0f}" if peak else "n/a of an unknown peak"
    memory = peak_memory(device) / 2**30
    pipe.send((speed, f"{speed:9.0f} tokens/s {flops / 1e12:7.1f} TFLOP/s, {share}; {memory:.1f} GiB{note}"))


def ours(config: ModelConfig, arguments: argparse.Namespace, device: torch.device, folder: Path) -> Any:
    return trainer(config, arguments, device, folder, Workers(0, 1, device), sharded=False)


def ours_sharded(config: ModelConfig, arguments: argparse.Namespace, device: torch.device, folder: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=address, rank=0, world_size=1)
    return trainer(config, arguments, device, folder, Workers.of_process_group(device), sharded=True)


def trainer(
    config: ModelConfig,
    arguments: argparse.Namespace,
    device: torch.device,
    folder: Path,
    workers: Workers,
    *,
    sharded: bool,
) -> Any:
    count = max(2_000_000, 4 * arguments.rows * arguments.length)
    shape = {"rows": arguments.micro, "length": arguments.length}
    kernel = attention.fastest_first(config, **shape, dtype=DTYPE, device=device)
    chosen = kernel.__enter__()  # for as long as the process lives

    def prepare(model: Transformer) -> None:
        if should_compile("auto", device):
            model.compile_blocks()
        if sharded:
            shard(model, workers)

    found = make_trainer(
        random_store(folder / "tokens", vocabulary=VOCABULARY, count=count),
        config,
        folder / "checkpoints",
        {"global_batch_size": arguments.rows, "max_steps": NEVER},
        micro_batch_size=arguments.micro,
        workers=workers,
        dtype=DTYPE,
        lanes=False,
        prepare=prepare,
    )
    return found.step, f", {chosen} attention" if chosen else ""


def peer(config: ModelConfig, arguments: argparse.Namespace, device: torch.device, folder: Path) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    names += ("num_key_value_heads", "head_dim", "max_position_embeddings", "tie_word_embeddings")
    model = Qwen3ForCausalLM(Qwen3Config(**{name: getattr(config, name) for name in names}, use_cache=False))
    model.to(device, DTYPE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = torch.randint(0, VOCABULARY, (arguments.rows, arguments.length), device=device)

    def step() -> None:
        for part in batch.split(arguments.micro):
            (model(input_ids=part, labels=part).loss * len(part) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, ""


if __name__ == "__main__":
    sys.exit(main())

"""Generation speed against `transformers`, alone and in a batch.

    python -m tests.benchmarks.bench_generate [--rounds 5] [--max-new-tokens 64]

Greedy continuation of random prompts of 32 tokens by a random model of the quickstart's shape, in bf16 and fp32; both
sides have the same weights (through the exported folder) and write the same number of tokens. The rounds are
interleaved, because a machine is seldom alone; the best round of each counts. In fp32 the tokens must be equal.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch

from bessemer.generate.engine import Batch
from bessemer.generate.settings import GenerationSettings
from bessemer.model import hub
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer

VOCABULARY, PROMPT_TOKENS = 8192, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    arguments = parser.parse_args()
    model = Transformer(ModelShape().resolve(vocab_size=VOCABULARY, max_seq_length=512))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.05, generator=generator)
    print(
        f"{model.config.num_parameters() / 1e6:.2f}M parameters, {arguments.max_new_tokens} tokens after "
        f"{PROMPT_TOKENS}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {metadata.version('transformers')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        hub.export_model(model, Path(folder))
        for dtype in (torch.bfloat16, torch.float32):
            for rows in (1, 16):
                prompts = torch.randint(1, VOCABULARY, (rows, PROMPT_TOKENS), generator=generator)
                contestants = {
                    "bessemer": ours(Path(folder), dtype, prompts, arguments.max_new_tokens),
                    "transformers": peer(Path(folder), dtype, prompts, arguments.max_new_tokens),
                }
                compare(contestants, rows, dtype, arguments)


def compare(
    contestants: dict[str, Callable[[], list[list[int]]]], rows: int, dtype: torch.dtype, arguments: argparse.Namespace
) -> None:
    tokens = {name: run() for name, run in contestants.items()}
    if dtype == torch.float32:
        assert tokens["bessemer"] == tokens["transformers"], "the tokens differ"
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    speed = {name: rows * arguments.max_new_tokens / seconds for name, seconds in best.items()}
    print(
        f"{str(dtype).removeprefix('torch.'):9} batch {rows:2}: bessemer {speed['bessemer']:7.0f} tokens/s, "
        f"transformers {speed['transformers']:7.0f}, ours is {speed['bessemer'] / speed['transformers']:.2f}x"
    )


def ours(folder: Path, dtype: torch.dtype, prompts: torch.Tensor, count: int) -> Callable[[], list[list[int]]]:
    model = hub.load_model(folder, dtype=dtype)
    settings = [GenerationSettings(temperature=0, max_new_tokens=count)] * len(prompts)

    def run() -> list[list[int]]:
        batch, tokens = Batch(model, prompts.tolist(), settings), [[] for _ in prompts]
        while batch.requests:
            for request, token in batch.step():
                tokens[request].append(token)
        return tokens

    return run


def peer(folder: Path, dtype: torch.dtype, prompts: torch.Tensor, count: int) -> Callable[[], list[list[int]]]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    mask = torch.ones_like(prompts)

    def run() -> list[list[int]]:
        found = model.generate(
            prompts, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0
        )
        return found[:, PROMPT_TOKENS:].tolist()

    return run


if __name__ == "__main__":
    main()

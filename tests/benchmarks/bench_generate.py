"""Generation speed compared with `transformers`, for one prompt and for a batch.

    python -m tests.benchmarks.bench_generate [--rounds 5] [--max-new-tokens 64]

Continuation of random prompts of 32 tokens by a random model of the quickstart's shape, in bf16 and fp32, greedy and
sampled at temperature 1 like rollouts. Both sides have the same weights (from the exported folder) and generate the
same number of tokens. The rounds are interleaved, because other programs may use the machine. The best round of each
counts. Greedy tokens must be equal in fp32.
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
            for rows, temperature in ((1, 0), (16, 0), (16, 1)):
                prompts = torch.randint(1, VOCABULARY, (rows, PROMPT_TOKENS), generator=generator)
                contestants = {
                    "bessemer": ours(Path(folder), dtype, prompts, arguments.max_new_tokens, temperature),
                    "transformers": peer(Path(folder), dtype, prompts, arguments.max_new_tokens, temperature),
                }
                compare(contestants, rows, dtype, temperature, arguments)


def compare(
    contestants: dict[str, Callable[[], list[list[int]]]],
    rows: int,
    dtype: torch.dtype,
    temperature: int,
    arguments: argparse.Namespace,
) -> None:
    tokens = {name: run() for name, run in contestants.items()}
    if dtype == torch.float32 and not temperature:
        assert tokens["bessemer"] == tokens["transformers"], "the tokens differ"
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    speed = {name: rows * arguments.max_new_tokens / seconds for name, seconds in best.items()}
    what = f"{str(dtype).removeprefix('torch.'):9} batch {rows:2}, {'drawn ' if temperature else 'greedy'}"
    print(
        f"{what}: bessemer {speed['bessemer']:7.0f} tokens/s, transformers {speed['transformers']:7.0f}, "
        f"ours is {speed['bessemer'] / speed['transformers']:.2f}x"
    )


def ours(
    folder: Path, dtype: torch.dtype, prompts: torch.Tensor, count: int, temperature: int
) -> Callable[[], list[list[int]]]:
    model = hub.load_model(folder, dtype=dtype)
    settings = [GenerationSettings(temperature=temperature, top_p=1.0, max_new_tokens=count)] * len(prompts)

    def run() -> list[list[int]]:
        batch, tokens = Batch(model, prompts.tolist(), settings), [[] for _ in prompts]
        while batch.requests:
            for request, token in batch.step():
                tokens[request].append(token)
        return tokens

    return run


def peer(
    folder: Path, dtype: torch.dtype, prompts: torch.Tensor, count: int, temperature: int
) -> Callable[[], list[list[int]]]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    mask = torch.ones_like(prompts)
    how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}

    def run() -> list[list[int]]:
        found = model.generate(
            prompts, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, pad_token_id=0, **how
        )
        return found[:, PROMPT_TOKENS:].tolist()

    return run


if __name__ == "__main__":
    main()

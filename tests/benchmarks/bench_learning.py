"""Bits per byte of a new model on held-out text, after ten minutes of training on real text.

    python -m tests.benchmarks.bench_learning [--minutes 10] [--size tiny] [--rows 8] ...

Text: novels, textbooks, Python's enhancement proposals, Rust's RFCs and a factbook, cut into documents of 4 000
characters. Every 50th document is held out, and a vocabulary of 8 192 tokens is trained on the rest. The time is from
random weights to the last step. It excludes the measurement of speed before training and the evaluation after it. The
speed determines the number of steps, because the schedule must know its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bessemer import environment

environment.prepare()

from tests.benchmarks.training import NEVER, make_trainer  # noqa: E402

from bessemer.model.config import ModelConfig, ModelShape  # noqa: E402
from bessemer.model.memory import keep_freed_memory  # noqa: E402
from bessemer.tokens.bpe_training import train_tokenizer  # noqa: E402
from bessemer.tokens.store import TokenStore  # noqa: E402
from bessemer.tokens.tokenizer import TokenizerFolder  # noqa: E402
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard  # noqa: E402
from bessemer.train.loop import Trainer  # noqa: E402

DATASETS = ("text_en_novels", "text_en_openstax", "text_en_peps", "text_en_rust_rfcs", "text_en_factbook")
PIECE, EVERY, VOCABULARY, LENGTH = 4000, 50, 8192, 512
PROBE_STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--hidden-size", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=Path, help="keep the tokens here, for the next call")
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = tokens(arguments.tokens or Path(folder) / "tokens")
        shape = {"size": arguments.size, "hidden_size": arguments.hidden_size, "num_hidden_layers": arguments.layers}
        config = ModelShape.model_validate({k: v for k, v in shape.items() if v is not None}).resolve(
            vocab_size=VOCABULARY, max_seq_length=LENGTH
        )
        probe = trainer(config, store, Path(folder) / "probe", arguments, PROBE_STEPS)
        for _ in range(2):
            probe.step()
        began = time.perf_counter()
        for _ in range(2, PROBE_STEPS):
            probe.step()
        seconds = (time.perf_counter() - began) / (PROBE_STEPS - 2)
        run = trainer(config, store, Path(folder) / "run", arguments, int(60 * arguments.minutes / seconds))
        began = time.perf_counter()
        while run.progress.step < run.plan.num_steps:
            run.step()
        took = time.perf_counter() - began
        found = run.validate()
    print(
        f"{config.num_parameters() / 1e6:.2f}M parameters ({config.num_hidden_layers} layers of {config.hidden_size}), "
        f"{arguments.optimizer}, {run.progress.num_tokens / 1e6:.2f}M tokens of "
        f"{store.num_tokens('train') / 1e6:.2f}M in {took / 60:.1f} minutes: {found['bits_per_byte']:.4f} bits per byte"
    )


def trainer(config: ModelConfig, store: TokenStore, folder: Path, arguments: argparse.Namespace, steps: int) -> Trainer:
    given = {"global_batch_size": arguments.rows, "max_steps": steps, "optimizer": arguments.optimizer}
    if arguments.learning_rate:
        given["learning_rate"] = arguments.learning_rate
    seed = arguments.seed
    return make_trainer(store, config, folder, given, micro_batch_size=32, seed=seed, validation_tokens=NEVER)


def tokens(folder: Path) -> TokenStore:
    if not (folder / "meta.json").exists():
        pieces = list(documents())
        splits = {
            "train": [piece for number, piece in enumerate(pieces) if number % EVERY],
            "validation": pieces[::EVERY],
        }
        sample = np.random.default_rng(0).permutation(len(splits["train"]))[:3000]
        tokenizer = TokenizerFolder.trained(train_tokenizer((splits["train"][i] for i in sample), VOCABULARY))
        shards = []
        for split, texts in splits.items():
            encodings = tokenizer.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids = [np.array([*e.ids, tokenizer.end_of_text_id], dtype="<u2") for e in encodings]
            lengths = np.array([len(numbers) for numbers in ids])
            names = [f"{split}-{number}" for number in range(len(ids))]
            sizes = np.array([len(text.encode()) for text in texts])
            rows = index_rows(names, names, [split] * len(ids), lengths, sizes)
            shards.append(write_shard(folder, split, 0, [Tokenized(np.concatenate(ids), rows)]))
        write_meta(
            folder,
            shards,
            vocab_size=VOCABULARY,
            end_of_text_id=tokenizer.end_of_text_id,
            token_bytes=tokenizer.token_bytes,
        )
    return TokenStore.open(folder)


def documents() -> Iterator[str]:
    """Pieces of at most 4 000 characters. The last piece of a text may be short."""
    shared = Path(os.environ.get("BESSEMER_DATA", Path(__file__).parents[3] / "shared" / "data"))
    for name in DATASETS:
        printed = subprocess.run(
            [sys.executable, shared / "unpack.py", name], check=True, capture_output=True, text=True
        ).stdout
        for path in sorted(Path(printed.strip().splitlines()[-1]).iterdir()):
            if path.suffix == ".jsonl":
                texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
            elif path.suffix in (".txt", ".rst", ".md"):
                texts = [path.read_text(encoding="utf-8", errors="replace")]
            else:
                continue
            for text in texts:
                yield from (text[start : start + PIECE] for start in range(0, len(text), PIECE))


if __name__ == "__main__":
    main()

"""A synthetic language that a model learns in seconds: a store of its tokens, a model, and a trainer."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard
from bessemer.train.checkpoint import Checkpoints
from bessemer.train.loop import ExecutionSettings, Trainer
from bessemer.train.metrics import MetricsLog
from bessemer.train.objectives.causal import Causal
from bessemer.train.settings import TrainingPlan
from bessemer.train.workers import Workers

VOCABULARY = 61
LENGTH = 16
PLAN = TrainingPlan(
    objective={"shares": {"causal": 1.0}, "masking_ratio": 0.3, "document_mask": False, "z_loss": 0.0},
    max_seq_length=LENGTH,
    global_batch_size=8,
    num_steps=12,
    optimizer="muon",
    learning_rate=0.02,
    embedding_learning_rate=0.01,
    head_learning_rate=0.01,
    vector_learning_rate=0.01,
    weight_decay=0.01,
    momentum=0.95,
    beta1=0.9,
    beta2=0.95,
    lr_scheduler="warmup_stable_decay",
    warmup_steps=2,
    decay_ratio=0.5,
    final_learning_rate_ratio=0.0,
    gradient_clip=1.0,
    spike_sigmas=6.0,
    on_divergence="stop",
    seed=0,
)
PACE = ExecutionSettings(micro_batch_size=4, validation_interval=5, log_interval=1, checkpoint_interval_seconds=1e9)
SAVE_EVERY_STEP = 1e-9


def write_store(folder: Path, *, tokens: dict[str, int]) -> TokenStore:
    """A store in which every token is the previous one plus a small random step.

    `tokens` gives the number of tokens per split. Token 0 ends each document, and documents have 40 tokens.
    """
    shards = []
    for split, count in tokens.items():
        random = np.random.default_rng(len(split))
        lengths = np.full(-(-count // 40), 40)
        lengths[-1] -= lengths.sum() - count
        words = np.cumsum(random.integers(1, 4, count)) % (VOCABULARY - 1) + 1
        words[np.cumsum(lengths) - 1] = 0
        ids = [f"{split}-{number}" for number in range(len(lengths))]
        rows = index_rows(ids, ids, [split] * len(ids), lengths, lengths - 1)
        shards.append(write_shard(folder, split, 0, [Tokenized(words.astype("<u2"), rows)]))
    token_bytes = np.ones(VOCABULARY, dtype=np.int32)
    token_bytes[0] = 0
    write_meta(folder, shards, vocab_size=VOCABULARY, end_of_text_id=0, token_bytes=token_bytes)
    return TokenStore.open(folder)


STORIES = [
    f"The {animal} saw {count} {thing}s by the {place}. Then the {animal} ran to the {place} and slept. "
    for animal in ("cat", "owl", "fox", "hen")
    for count in ("two", "six", "nine")
    for thing in ("tree", "stone", "boat")
    for place in ("river", "hill", "house", "road")
]


def write_stories(folder: Path) -> tuple[TokenStore, TokenizerFolder]:
    """A store of English text with its tokenizer. Every fourth story is held out."""
    tokenizer = TokenizerFolder.trained(train_tokenizer(STORIES, 320))
    shards = []
    for split in ("train", "validation"):
        chosen = [text for number, text in enumerate(STORIES) if (number % 4 == 3) == (split == "validation")]
        ids = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in chosen]
        lengths = np.array([len(tokens) for tokens in ids])
        names = [f"{split}-{number}" for number in range(len(ids))]
        rows = index_rows(names, names, [split] * len(ids), lengths, np.array([len(text) for text in chosen]))
        shards.append(write_shard(folder, split, 0, [Tokenized(np.concatenate(ids).astype("<u2"), rows)]))
    sizes = {"vocab_size": tokenizer.vocab_size, "end_of_text_id": tokenizer.end_of_text_id}
    write_meta(folder, shards, token_bytes=tokenizer.token_bytes, **sizes)
    return TokenStore.open(folder), tokenizer


def make_model(dtype: torch.dtype = torch.float32) -> Transformer:
    shape = ModelShape(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
    model = Transformer(shape.resolve(vocab_size=VOCABULARY, max_seq_length=LENGTH), compute_dtype=dtype)
    model.initialise(seed=0)
    return model


def make_trainer(store: TokenStore, folder: Path, **changes: Any) -> Trainer:
    """A trainer that writes to `folder`. `changes` override fields of `PLAN` or `PACE`, or arguments of `Trainer`."""
    objective = changes.pop("objective", None)
    plan = replace(PLAN, **{name: changes.pop(name) for name in list(changes) if name in vars(PLAN)})
    execution = replace(PACE, **{name: changes.pop(name) for name in list(changes) if name in vars(PACE)})
    workers = changes.pop("workers", Workers(0, 1, torch.device("cpu")))
    attempt = changes.pop("attempt", 1)
    model = changes.pop("model", None) or make_model()
    objective = objective or Causal(store, length=plan.max_seq_length, seed=plan.seed, validation_tokens=10**6)
    log = logging.getLogger("test")
    return Trainer(
        model,
        objective,
        plan,
        execution,
        workers=workers,
        checkpoints=Checkpoints(folder / "checkpoints", workers, log, keep_last=2),
        metrics=MetricsLog(folder / "metrics" / f"{attempt:04d}.jsonl") if workers.rank == 0 else None,
        log=log,
        **changes,
    )

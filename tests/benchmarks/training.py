"""Shared parts of the training benchmarks: a trainer like that of `pretrain`, and random tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.model.config import ModelConfig
from bessemer.model.hardware import choose_dtype
from bessemer.model.transformer import Transformer
from bessemer.tokens.store import TokenStore
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard
from bessemer.train.checkpoint import Checkpoints
from bessemer.train.lanes import num_lanes
from bessemer.train.loop import ExecutionSettings, Trainer
from bessemer.train.objectives.causal import Causal
from bessemer.train.settings import TrainSettings, resolve_pretraining
from bessemer.train.workers import Workers

CPU = torch.device("cpu")
NEVER = 10**9


def make_trainer(
    store: TokenStore,
    config: ModelConfig,
    folder: Path,
    settings: dict[str, Any],
    *,
    micro_batch_size: int,
    workers: Workers | None = None,
    dtype: torch.dtype | None = None,
    lanes: bool = True,
    seed: int = 0,
    validation_tokens: int = 1,
    export: Callable[..., None] | None = None,
    prepare: Callable[[Transformer], None] = lambda model: None,
) -> Trainer:
    """A trainer of a new model that does not validate or save by itself. The default is one worker on the CPU.

    `settings` are fields of `TrainSettings`; `micro_batch_size` is shared out among the lanes; `prepare` may change the
    model before its optimizer is made.
    """
    workers = workers or Workers(0, 1, CPU)
    model = Transformer(config, compute_dtype=dtype or choose_dtype("auto", workers.device))
    model.initialise(seed)
    model.to(workers.device)
    prepare(model)
    length = config.max_position_embeddings
    plan = resolve_pretraining(
        TrainSettings.model_validate({"max_seq_length": length} | settings),
        config,
        train_tokens=store.num_tokens("train"),
        seed=seed,
        objective={},
    )
    rows = plan.global_batch_size // workers.size
    threads, parameters = torch.get_num_threads(), config.num_parameters()
    count = num_lanes(workers.device, threads=threads, rows=rows, num_parameters=parameters) if lanes else 1
    log = logging.getLogger("bench")
    return Trainer(
        model,
        Causal(store, length=length, seed=seed, validation_tokens=validation_tokens),
        plan,
        ExecutionSettings(
            micro_batch_size=micro_batch_size,
            num_lanes=count,
            validation_interval=NEVER,
            log_interval=NEVER,
            checkpoint_interval_seconds=NEVER,
        ),
        workers=workers,
        checkpoints=Checkpoints(folder, workers, log, export=export),
        log=log,
    )


def random_store(folder: Path, *, vocabulary: int = 8192, count: int = 2_000_000) -> TokenStore:
    """A store of `count` random tokens, because speed does not depend on their values."""
    tokens = np.random.default_rng(0).integers(0, vocabulary, count).astype("<u2")
    lengths = np.array([count])
    rows = index_rows(["0"], ["0"], ["random"], lengths, lengths)
    shard = write_shard(folder, "train", 0, [Tokenized(tokens, rows)])
    sizes = np.ones(vocabulary, dtype=np.int32)
    write_meta(folder, [shard], vocab_size=vocabulary, end_of_text_id=0, token_bytes=sizes)
    return TokenStore.open(folder)

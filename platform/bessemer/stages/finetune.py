"""finetune: fine-tunes a model on conversations, so that it answers questions.

The stage trains all parameters or low-rank adapters (`lora`). The model comes from the recipe or from an open
checkpoint (`base_model`). Learning rates left at `auto` are a fraction of the model's pre-training rates. They stay
constant, then fall to zero over the second half of the steps; there is no weight decay. For open checkpoints and for
adapters, `auto` selects AdamW with its usual rates.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat

from bessemer.errors import NothingLeft, UsageError
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.engine.context_length import check_max_seq_length
from bessemer.stages.engine.training import TuningConfig, TuningRates, tune
from bessemer.stages.engine.training_checks import check_brought, check_start

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers

RATES = TuningRates(share=0.1, full=2e-5, lora=2e-4)
"""The share was tuned on 2 000 questions about documentation, with a model of 5M parameters. nanochat uses 0.8 for a
million conversations; at that rate the model memorises so few questions in the first epoch."""


class Config(TuningConfig):
    z_loss: NonNegativeFloat = 0.0
    """Weight of the squared logarithm of the softmax's denominator in the loss; 1e-5 keeps logits from drifting."""
    decay_ratio: float = Field(0.5, ge=0, le=1)
    """Fraction of the steps, at the end, in which `warmup_stable_decay` lowers the learning rate."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.train.objectives.supervised import Supervised

    start, tokenizer, conversations = inputs["model"], inputs["tokenizer"], inputs["conversations"]
    model, stop_ids = check_start(config, start, tokenizer, conversations)
    parts = conversations.parts()
    _check_lengths(parts, config.max_seq_length)
    objective = Supervised(parts, length=config.max_seq_length, z_loss=config.z_loss)
    if not objective.num_rows:
        raise NothingLeft(
            "no conversation of the split `tune` has an answer to learn from",
            hint="provide answers, or give `validation` and `test` smaller shares in `split` of `conversations`",
        )
    if not objective.num_validation_rows:
        context.log.warning("no conversation is held out for validation; raise the share of `validation` in `split`")
    draft.metrics["train/packing_ratio"] = objective.packing_ratio
    tune(
        config,
        start=start,
        tokenizer=tokenizer,
        model=model,
        stop_ids=stop_ids,
        num_rows=objective.num_rows,
        objective={"name": "supervised", "z_loss": config.z_loss},
        make_objective=partial(_objective, parts, config.max_seq_length, config.z_loss),
        rates=RATES,
        draft=draft,
        context=context,
    )


def _objective(
    parts: Sequence[Path], length: int, z_loss: float, model: Transformer, workers: Workers, log: logging.Logger
) -> Objective:
    from bessemer.train.objectives.supervised import Supervised

    return Supervised(parts, length=length, z_loss=z_loss)


def _check_lengths(parts: Sequence[Path], max_seq_length: int) -> None:
    """Raises UsageError if a conversation is too long, because truncation would teach answers without an end."""
    import pyarrow.compute as pc

    from bessemer.artifacts.documents import read_parquet

    lengths = [pc.list_value_length(read_parquet(part, ["ids"])["ids"]) for part in parts]
    longest = max((pc.max(found).as_py() or 0 for found in lengths), default=0)
    if longest - 1 > max_seq_length:  # the last token is only a target
        count = sum(pc.sum(pc.greater(found, max_seq_length + 1)).as_py() or 0 for found in lengths)
        raise UsageError(
            f"{count} conversations have more than `max_seq_length` {max_seq_length} tokens, the longest {longest}",
            hint=f"set `max_seq_length` of the stage `conversations` to {max_seq_length}, to remove longer rows",
        )


STAGE = Stage(
    kind="finetune",
    version=3,
    config=Config,
    inputs=(Input("model"), Input("conversations"), Input("tokenizer")),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    check=check_brought,
    context_length=check_max_seq_length,
)

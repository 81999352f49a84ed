"""reward: trains a reward model, which scores answers, on pairs of preferred and rejected answers.

The artifact is a Hugging Face folder of the model family's `ForSequenceClassification`, which unmodified `transformers`
loads. The score of an answer is the output at the token that ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat, PositiveInt

from bessemer.recipe.inputs import Input
from bessemer.stages.align import check_preferences
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.engine.context_length import check_max_seq_length
from bessemer.stages.engine.training import TuningConfig, TuningRates, tune
from bessemer.stages.engine.training_checks import check_brought, check_start
from bessemer.train.settings import Auto

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers

RATES = TuningRates(share=0.2, full=9e-6, lora=1e-4)


class Config(TuningConfig):
    center_rewards_coefficient: NonNegativeFloat = 0.01
    """Weight of (sum of a pair's rewards)^2, which keeps rewards near zero."""
    global_batch_size: PositiveInt | Auto = 32
    """Pairs per step over all workers."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    start, tokenizer, preferences = inputs["model"], inputs["tokenizer"], inputs["preferences"]
    found, stop_ids = check_start(config, start, tokenizer, preferences)
    parts = preferences.parts()
    count = check_preferences(parts, config.max_seq_length, pairs=True)
    coefficient = config.center_rewards_coefficient
    tune(
        config,
        start=start,
        tokenizer=tokenizer,
        model=found.model_copy(update={"is_reward": True}),
        stop_ids=stop_ids,
        num_rows=count,
        objective={"name": "reward", "center_rewards_coefficient": coefficient},
        make_objective=partial(_objective, parts, coefficient),
        rates=RATES,
        draft=draft,
        context=context,
    )


def _objective(
    parts: Sequence[Path], coefficient: float, model: Transformer, workers: Workers, log: logging.Logger
) -> Objective:
    from bessemer.align.reward_model_objective import Rewarding

    return Rewarding(parts, center_rewards_coefficient=coefficient)


STAGE = Stage(
    kind="reward",
    version=3,
    config=Config,
    inputs=(Input("model"), Input("preferences"), Input("tokenizer")),
    produces="reward_model",
    run=run,
    libraries=("torch",),
    seeded=True,
    check=check_brought,
    context_length=check_max_seq_length,
)

"""reward: a model and pairs of answers in, a model that scores answers out.

The scores are learned from which answer people preferred. The artifact is a Hugging Face folder of the family's
`ForSequenceClassification`, which stock `transformers` loads; the score stands at the token that ends an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat, PositiveInt

from bessemer.model.config import LoraSettings
from bessemer.stages.align import check_preferences
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.training import Job, TrainingConfig, check_start, pretraining_rates, train
from bessemer.train.settings import Auto, further_rates, resolve

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers

SHARE_OF_PRETRAINING = 0.2
"""Of the rates of pre-training."""
FULL, LORA = 9e-6, 1e-4
"""AdamW's rates for all parameters of a checkpoint from elsewhere, and for adapters."""


class Config(TrainingConfig):
    center_rewards_coefficient: NonNegativeFloat = 0.01
    """Weight of (sum of a pair's rewards)^2, which keeps rewards near zero."""
    lora: LoraSettings | None = None
    """Trains low-rank adapters and the score in place of all parameters; `{}` for those of usual size."""
    global_batch_size: PositiveInt | Auto = 32
    """Pairs a step, over all workers."""
    decay_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the steps in which `warmup_stable_decay` goes down, at the end."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    start, tokenizer, preferences = inputs["model"], inputs["tokenizer"], inputs["preferences"]
    found, stop_ids = check_start(config, start, tokenizer, preferences)
    parts = preferences.parts()
    count = check_preferences(parts, config.max_seq_length, pairs=True)
    model = found.model_copy(update={"is_reward": True})
    origin = pretraining_rates(start)
    plan = resolve(
        config,
        num_rows=count,
        seed=context.seed,
        objective={
            "name": "reward",
            "center_rewards_coefficient": config.center_rewards_coefficient,
            "lora": config.lora.model_dump(mode="json") if config.lora else None,
        },
        default_tokens=count * config.max_seq_length,
        auto_rates=partial(
            further_rates,
            config,
            model,
            origin=None if config.lora else origin,
            share=SHARE_OF_PRETRAINING,
            adamw=LORA if config.lora else FULL,
        ),
    )
    job = Job(
        settings=config,
        plan=plan,
        model=model,
        make_objective=_MakeObjective(parts, config.center_rewards_coefficient),
        tokenizer=tokenizer.data,
        stop_ids=stop_ids,
        start=start.data,
        lora=config.lora,
        origin=origin,
    )
    train(job, draft, context)


@dataclass(frozen=True)
class _MakeObjective:
    parts: Sequence[Path]
    center_rewards_coefficient: float

    def __call__(self, model: Transformer, workers: Workers) -> Objective:
        from bessemer.align.rewarding import Rewarding

        return Rewarding(self.parts, center_rewards_coefficient=self.center_rewards_coefficient)


STAGE = Stage(
    kind="reward",
    version=1,
    config=Config,
    consumes=("model", "preferences", "tokenizer"),
    produces="reward_model",
    run=run,
    libraries=("torch",),
    seeded=True,
)

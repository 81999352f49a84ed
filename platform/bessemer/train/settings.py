"""What a recipe says about training, and what becomes of the settings it leaves to `auto`.

`TrainSettings` is the recipe's side; `resolve` makes a `Plan` of it, in which every number that decides the result is
there, once the model's size and the corpus are known. Both are free of torch, so that `bessemer plan` shows them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bessemer.recipe.settings import Settings, execution
from bessemer.train.schedule import Shape

Auto = Literal["auto"]


class TrainSettings(Settings):
    max_seq_length: PositiveInt = 512
    """Tokens a row: what the model sees at once."""
    global_batch_size: PositiveInt | Auto = "auto"
    """Rows a step, over all workers."""
    num_tokens: PositiveInt | None = None
    """How long to train, in tokens; set at most one of `num_tokens`, `num_epochs` and `max_steps`."""
    num_epochs: PositiveFloat | None = None
    """How long to train, in passes over the corpus."""
    max_steps: PositiveInt | None = None
    """How long to train, in steps."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """What updates the hidden matrices; embedding, head and gains always have AdamW."""
    learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the hidden matrices."""
    embedding_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the embedding (which is the head too where they are tied)."""
    head_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of an untied head."""
    vector_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the gains."""
    weight_decay: float | Auto = Field("auto", ge=0)
    """Decoupled decay of the hidden matrices, times their learning rate; nothing else decays."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon's Nesterov momentum."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay of the mean gradient."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW's decay of the mean squared gradient."""
    lr_scheduler: Shape = "warmup_stable_decay"
    """How the learning rate goes over the run."""
    warmup_steps: NonNegativeInt | Auto = "auto"
    """Steps in which the learning rate rises."""
    decay_ratio: float = Field(0.65, ge=0, le=1)
    """Share of the steps in which `warmup_stable_decay` goes down, at the end."""
    final_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    """What is left of the learning rate at the end."""
    gradient_clip: PositiveFloat | None = 1.0
    """Largest norm of the gradient; a longer one is scaled down to it."""
    spike_sigmas: PositiveFloat | None = 6.0
    """A step whose loss or gradient norm is this many standard deviations above those before it is skipped."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What activations are computed in; parameters are fp32. `auto`: bf16 where the hardware multiplies it."""
    validation_tokens: PositiveInt = 262_144
    """Held-out tokens measured each time: evenly spread windows, or all there are."""
    validation_interval: PositiveInt | Auto = execution("auto")
    """Steps between measurements on held-out documents; a tenth of the run if `auto`. The end is always measured."""
    log_interval: PositiveInt = execution(10)
    """Steps between recorded training figures."""
    checkpoint_interval_seconds: PositiveFloat = execution(30.0)
    """Time between checkpoints: what is done again after a death, at most."""
    keep_last: PositiveInt = execution(2)
    """Checkpoints kept."""
    micro_batch_size: PositiveInt | Auto = execution("auto")
    """Rows a worker computes at once; bounds the memory and changes the result in its last bits only."""
    num_threads: PositiveInt | Auto = execution("auto")
    """CPU threads a worker; its share of the machine's cores if `auto`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("num_tokens", "num_epochs", "max_steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(f'`{name}`' for name in given)} both say how long to train; set one")
        return self


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every number that decides the result of a training run."""

    max_seq_length: int
    global_batch_size: int
    num_steps: int
    optimizer: Literal["muon", "adamw"]
    learning_rate: float
    embedding_learning_rate: float
    head_learning_rate: float
    vector_learning_rate: float
    weight_decay: float
    momentum: float
    beta1: float
    beta2: float
    lr_scheduler: Shape
    warmup_steps: int
    decay_ratio: float
    final_learning_rate_ratio: float
    gradient_clip: float | None
    spike_sigmas: float | None
    seed: int

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch_size * self.max_seq_length

    @property
    def num_tokens(self) -> int:
        return self.num_steps * self.tokens_per_step

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

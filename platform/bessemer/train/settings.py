"""The training settings that all objectives share, and the values of the settings that a recipe leaves to `auto`.

A recipe sets `TrainSettings`. Once the model's size and the corpus are known, `resolve` turns them into a
`TrainingPlan`, which contains every number that affects the result. This module does not import torch, so
`bessemer plan` can use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bessemer.errors import UsageError
from bessemer.model.config import ModelConfig
from bessemer.recipe.settings import Settings, execution
from bessemer.train.schedule import Shape

Auto = Literal["auto"]
OptimizerName = Literal["muon", "adamw"]


class TrainSettings(Settings):
    max_seq_length: PositiveInt = 512
    """Tokens per row, the model's context during training."""
    global_batch_size: PositiveInt | Auto = "auto"
    """Rows per step, over all workers."""
    num_tokens: PositiveInt | None = None
    """Training length in tokens. Set at most one of `num_tokens`, `num_epochs` and `max_steps`."""
    num_epochs: PositiveFloat | None = None
    """Training length in passes over the corpus."""
    max_steps: PositiveInt | None = None
    """Training length in steps."""
    optimizer: OptimizerName | Auto = "auto"
    """Optimizer of the hidden matrices; embedding, head and gains always use AdamW. `auto`: Muon. If an existing model
    is trained further, `auto` is the optimizer of its pre-training, or AdamW if that is unknown."""
    learning_rate: PositiveFloat | Auto = "auto"
    """Peak learning rate of the hidden matrices."""
    embedding_learning_rate: PositiveFloat | Auto = "auto"
    """Peak learning rate of the embedding, which is also the head if they are tied."""
    head_learning_rate: PositiveFloat | Auto = "auto"
    """Peak learning rate of an untied head."""
    vector_learning_rate: PositiveFloat | Auto = "auto"
    """Peak learning rate of the gains."""
    weight_decay: NonNegativeFloat | Auto = "auto"
    """Decoupled weight decay of the hidden matrices, multiplied by their learning rate; other parameters have none.
    `auto`: 0 if an existing model is trained further, otherwise a value that suits the optimizer."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon's Nesterov momentum."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay rate of the mean gradient."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW's decay rate of the mean squared gradient."""
    lr_scheduler: Shape = "warmup_stable_decay"
    """Shape of the learning rate schedule."""
    warmup_steps: NonNegativeInt | Auto = "auto"
    """Steps of linear warmup. `auto`: 2 % of the steps, at most 100."""
    decay_ratio: float = Field(0.65, ge=0, le=1)
    """Fraction of the steps, at the end, in which `warmup_stable_decay` lowers the learning rate."""
    final_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end of training, as a fraction of the peak."""
    gradient_clip: PositiveFloat | None = 1.0
    """Maximum norm of the gradient; larger gradients are scaled down to it. `null` turns clipping off."""
    spike_sigmas: PositiveFloat | None = 6.0
    """Skips a step whose loss or gradient norm is this many standard deviations above the mean of recent steps. `null`
    skips no step."""
    on_divergence: Literal["stop", "rewind"] = "stop"
    """Action if loss or gradient become infinite or NaN: stop, or return to the last checkpoint and skip the batches
    since then."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number type of the activations; parameters are fp32.

    `auto`: bf16 if it was measured to be faster on the device.
    """
    validation_interval: PositiveInt | Auto = execution("auto")
    """Steps between measurements on held-out documents. `auto`: 4 to 20 measurements per run, which take about 5 % of
    its time. The last step is always measured."""
    log_interval: PositiveInt = execution(10)
    """Steps between recorded training figures."""
    checkpoint_interval_seconds: PositiveFloat | Auto = execution("auto")
    """Seconds between checkpoints; a crash loses at most this much work. `auto`: 10 s, or 20 times the time to write a
    checkpoint if that is longer."""
    keep_last: PositiveInt = execution(2)
    """Number of checkpoints to keep."""
    compile: bool | Auto = execution("auto")
    """Whether torch compiles the blocks. It takes about a minute before the first step and makes steps faster. `auto`:
    on GPUs."""
    activation_checkpointing: bool = execution(False)
    """Whether the backward pass recomputes the activations: less memory for about a third more time."""
    sharding: Literal["auto", "none", "full"] = execution("auto")
    """Whether to shard parameters and optimizer state over the workers (FSDP2). `auto`: if they would take more than
    half of a GPU's memory."""
    micro_batch_size: PositiveInt | Auto = execution("auto")
    """Rows per forward and backward pass of a worker. It bounds the memory and changes only the last bits of the
    result."""
    num_threads: PositiveInt | Auto = execution("auto")
    """CPU threads per worker. `auto`: the worker's share of the machine's cores; for a resumed run, the number of its
    start. The number affects the last bits of the result, so a run cannot be resumed with another number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("num_tokens", "num_epochs", "max_steps") if getattr(self, name) is not None]
        if len(given) > 1:
            names = " and ".join(f"`{name}`" for name in given)
            raise ValueError(f"only one of {names} may be set; each gives the training length")
        return self


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Every value that affects the result of a training run."""

    objective: dict[str, Any]
    """The objective and its settings, as JSON values."""
    max_seq_length: int
    global_batch_size: int
    num_steps: int
    optimizer: OptimizerName
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
    on_divergence: Literal["stop", "rewind"]
    seed: int

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch_size * self.max_seq_length

    @property
    def num_tokens(self) -> int:
        return self.num_steps * self.tokens_per_step

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


TOKENS_PER_PARAMETER = 20
"""Compute-optimal budget (Hoffmann et al. 2022), over the parameters of blocks, norms and head."""

RULES = {
    "num_tokens": "20 per parameter of blocks and head (Hoffmann et al. 2022); the head's size is not known yet",
    "global_batch_size": "2048 x 160 x (num_tokens / 20 / 108e6)^(2/3) tokens, rounded to a power of two (OLMo-core's "
    "ladder)",
    "muon": "tuned on documentation at 5M parameters and 4096 tokens per step",
    "adamw": "0.5 x 0.0047 x (parameters / 108e6)^(-1/3) (OLMo-core's ladder)",
}
"""The rules that derive settings left to `auto`, as shown to the user."""
MOST_TOKENS_AT_ONCE = 16_384
"""Maximum number of tokens in an automatic micro batch. It uses the processor fully and bounds the memory."""


@dataclass(frozen=True)
class Rates:
    """An optimizer with its peak learning rates by parameter role, and the weight decay of the matrices."""

    optimizer: OptimizerName
    matrix: float
    embedding: float
    head: float
    vector: float
    weight_decay: float

    @classmethod
    def of(cls, plan: TrainingPlan) -> Rates:
        """The rates of a plan."""
        return cls(
            plan.optimizer,
            plan.learning_rate,
            plan.embedding_learning_rate,
            plan.head_learning_rate,
            plan.vector_learning_rate,
            plan.weight_decay,
        )

    def scaled(self, share: float) -> Rates:
        """The same optimizer with all rates multiplied by `share`, without weight decay."""
        matrix, embedding, head, vector = (share * r for r in (self.matrix, self.embedding, self.head, self.vector))
        return Rates(self.optimizer, matrix, embedding, head, vector, weight_decay=0.0)


AutoRates = Callable[[int], Rates]
"""A function from tokens per step to the rates that replace `auto`."""


def resolve(
    settings: TrainSettings,
    *,
    num_rows: float,
    seed: int,
    objective: dict[str, Any],
    default_tokens: float,
    auto_rates: AutoRates,
) -> TrainingPlan:
    """The plan for a corpus of `num_rows` rows.

    `default_tokens` is the training length in tokens if the settings give none.
    """
    length = settings.max_seq_length
    if settings.num_epochs is not None:
        budget = settings.num_epochs * num_rows * length
    else:
        budget = settings.num_tokens or default_tokens
    batch = auto_batch_size(budget, length) if settings.global_batch_size == "auto" else settings.global_batch_size
    steps = settings.max_steps or max(1, round(budget / (batch * length)))
    rates = auto_rates(batch * length)
    return TrainingPlan(
        objective=objective,
        max_seq_length=length,
        global_batch_size=batch,
        num_steps=steps,
        optimizer=rates.optimizer,
        learning_rate=_given(settings.learning_rate, rates.matrix),
        embedding_learning_rate=_given(settings.embedding_learning_rate, rates.embedding),
        head_learning_rate=_given(settings.head_learning_rate, rates.head),
        vector_learning_rate=_given(settings.vector_learning_rate, rates.vector),
        weight_decay=_given(settings.weight_decay, rates.weight_decay),
        momentum=settings.momentum,
        beta1=settings.beta1,
        beta2=settings.beta2,
        lr_scheduler=settings.lr_scheduler,
        warmup_steps=round(_given(settings.warmup_steps, min(100, 0.02 * steps))),
        decay_ratio=settings.decay_ratio,
        final_learning_rate_ratio=settings.final_learning_rate_ratio,
        gradient_clip=settings.gradient_clip,
        spike_sigmas=settings.spike_sigmas,
        on_divergence=settings.on_divergence,
        seed=seed,
    )


def resolve_pretraining(
    settings: TrainSettings,
    model: ModelConfig,
    *,
    train_tokens: int,
    seed: int,
    objective: dict[str, Any],
    further: AutoRates | None = None,
) -> TrainingPlan:
    """The plan to pre-train a new model on `train_tokens` tokens, or to continue pre-training with the rates `further`.

    If the settings do not give a training length, a new model trains for the compute-optimal budget of its size, and a
    continued model sees each token once. Raises UsageError if the corpus is not longer than one row.
    """
    length = settings.max_seq_length
    if train_tokens <= length:
        raise UsageError(
            f"`max_seq_length` is {length}, but the corpus has only {train_tokens} training tokens",
            hint="set a smaller `max_seq_length`, or add documents",
        )
    return resolve(
        settings,
        num_rows=train_tokens / length,
        seed=seed,
        objective=objective,
        default_tokens=train_tokens if further else TOKENS_PER_PARAMETER * model.num_parameters(embedding=False),
        auto_rates=further or partial(new_rates, settings.optimizer, model),
    )


def derivation(settings: TrainSettings, model: ModelConfig) -> dict[str, dict[str, Any]]:
    """The sizes and rates of a plan that are known before the corpus, by setting name.

    Each entry has a `value`. Its `by` names the source of the value: a rule, or "the recipe".
    """
    given = settings.num_tokens
    budget = given or TOKENS_PER_PARAMETER * model.num_parameters(embedding=False)
    batch = settings.global_batch_size
    rows = auto_batch_size(budget, settings.max_seq_length) if batch == "auto" else batch
    found: dict[str, dict[str, Any]] = {}
    if settings.num_epochs is None and settings.max_steps is None:
        found["num_tokens"] = {"value": budget, "by": "the recipe" if given else RULES["num_tokens"]}
    if batch != "auto" or "num_tokens" in found:
        by = RULES["global_batch_size"] if batch == "auto" else "the recipe"
        found["global_batch_size"] = {"value": rows, "by": by}
    rates = new_rates(settings.optimizer, model, rows * settings.max_seq_length)
    for name, derived in (("learning_rate", rates.matrix), ("embedding_learning_rate", rates.embedding)):
        setting = getattr(settings, name)
        by = RULES[rates.optimizer] if setting == "auto" else "the recipe"
        found[name] = {"value": _given(setting, derived), "by": by}
    return found


def micro_batch_size(settings: TrainSettings, plan: TrainingPlan, num_workers: int | tuple[int, int]) -> int:
    """Rows per forward and backward pass of a worker, for a number of workers or a range (least, most).

    Raises UsageError if a fixed number of workers does not divide the global batch, or if workers would get no rows. In
    a range, the batch may divide unevenly, and the last bits of the result depend on the actual number of workers.
    """
    least, most = (num_workers, num_workers) if isinstance(num_workers, int) else num_workers
    rows, rest = divmod(plan.global_batch_size, least)
    if most > plan.global_batch_size:
        raise UsageError(
            f"`global_batch_size` {plan.global_batch_size} leaves some of {most} workers without a row",
            hint=f"set `num_workers` to at most {plan.global_batch_size}, or set a larger `global_batch_size`",
        )
    if rest and least == most:
        raise UsageError(
            f"`global_batch_size` {plan.global_batch_size} does not divide among {least} workers",
            hint=f"set `num_workers` to a divisor of {plan.global_batch_size}, or set another `global_batch_size`",
        )
    return min(
        rows + (rest > 0), round(_given(settings.micro_batch_size, max(1, MOST_TOKENS_AT_ONCE // plan.max_seq_length)))
    )


def validation_interval(settings: TrainSettings, plan: TrainingPlan, validation_tokens: int) -> int:
    """Steps between measurements on `validation_tokens` held-out tokens.

    `auto` gives 4 to 20 measurements per run, so that they cost about a twentieth of it. A measurement costs a third of
    training on the same number of tokens.
    """
    measurements = min(20, max(4, 0.05 * plan.num_tokens / max(1, validation_tokens / 3)))
    return round(_given(settings.validation_interval, max(1, plan.num_steps / measurements)))


def _given(value: float | Auto, derived: float) -> float:
    return derived if value == "auto" else value


def auto_batch_size(budget: float, length: int) -> int:
    """Rows per step for a training length of `budget` tokens, in rows of `length` tokens.

    2048 * 160 * (budget / 20 / 108e6)^(2/3) tokens (OLMo-core's ladder), rounded to a power of two in rows.
    """
    tokens = 2048 * 160 * (budget / TOKENS_PER_PARAMETER / 108e6) ** (2 / 3)
    return int(2 ** max(0, round(math.log2(tokens / length))))


def new_rates(optimizer: OptimizerName | Auto, model: ModelConfig, batch_tokens: int) -> Rates:
    """The rates to pre-train a new model with `batch_tokens` tokens per step; see `RULES`."""
    adamw = 0.5 * 0.0047 * (model.num_parameters(embedding=False) / 108e6) ** (-1 / 3)
    if optimizer == "adamw":
        return Rates("adamw", adamw, adamw, adamw, adamw, weight_decay=0.1)
    return Rates("muon", matrix=0.01, embedding=0.03, head=0.004, vector=0.01, weight_decay=0.05)


def further_rates(
    settings: TrainSettings,
    model: ModelConfig,
    batch_tokens: int,
    *,
    origin: Rates | None,
    share: float,
    adamw: float,
) -> Rates:
    """The rates for further training of a model: its pre-training rates, `origin`, times `share`, without weight decay.

    If `origin` is None, or if the settings ask for another optimizer, all parameters have the same rate. It is
    `learning_rate` if that is set. If not, it is `adamw` without `origin`, and `share` times AdamW's rate for new
    models with `origin`. In these cases, Muon has no rule for its rate and needs `learning_rate`; otherwise raises
    UsageError.
    """
    wanted = settings.optimizer
    if origin is not None and wanted in ("auto", origin.optimizer):
        return origin.scaled(share)
    if wanted == "muon":
        if settings.learning_rate == "auto":
            raise UsageError(
                "`optimizer` is `muon`, but no rule for its rate is known when this model is trained further",
                hint="set `learning_rate`, or set `optimizer: adamw`",
            )
        return Rates("muon", adamw, adamw, adamw, adamw, weight_decay=0.0)
    rate = adamw if origin is None else share * new_rates("adamw", model, batch_tokens).matrix
    rate = _given(settings.learning_rate, rate)
    return Rates("adamw", rate, rate, rate, rate, weight_decay=0.0)

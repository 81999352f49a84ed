"""What a recipe says about training, whatever the objective, and what becomes of the settings it leaves to `auto`.

`TrainSettings` is the recipe's side; `resolve` makes a `Plan` of it, in which every number that decides the result is
there, once the model's size and the corpus are known. Both are free of torch, so that `bessemer plan` shows them.
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
    """Tokens a row: what the model sees at once."""
    global_batch_size: PositiveInt | Auto = "auto"
    """Rows a step, over all workers."""
    num_tokens: PositiveInt | None = None
    """How long to train, in tokens; set at most one of `num_tokens`, `num_epochs` and `max_steps`."""
    num_epochs: PositiveFloat | None = None
    """How long to train, in passes over the corpus."""
    max_steps: PositiveInt | None = None
    """How long to train, in steps."""
    optimizer: OptimizerName | Auto = "auto"
    """What updates the hidden matrices; embedding, head and gains always have AdamW. `auto`: Muon, or what a model that
    is fine-tuned was trained with."""
    learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the hidden matrices."""
    embedding_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the embedding (which is the head too where they are tied)."""
    head_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of an untied head."""
    vector_learning_rate: PositiveFloat | Auto = "auto"
    """Peak rate of the gains."""
    weight_decay: NonNegativeFloat | Auto = "auto"
    """Decoupled decay of the hidden matrices, times their learning rate; nothing else decays. `auto`: none where a
    model is trained further."""
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
    on_divergence: Literal["stop", "rewind"] = "stop"
    """A loss or gradient that is no number: stop, or go back to the last checkpoint and leave out the batches since."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What activations are computed in; parameters are fp32. `auto`: bf16 where the hardware multiplies it."""
    validation_interval: PositiveInt | Auto = execution("auto")
    """Steps between measurements on held-out documents; `auto` spends a twentieth of the time. The end has one."""
    log_interval: PositiveInt = execution(10)
    """Steps between recorded training figures."""
    checkpoint_interval_seconds: PositiveFloat | Auto = execution("auto")
    """Time between checkpoints: what is done again after a death, at most. `auto`: 10 s, or 20 times what writing one
    takes where that is longer."""
    keep_last: PositiveInt = execution(2)
    """Checkpoints kept."""
    compile: bool | Auto = execution("auto")
    """Whether torch compiles the blocks: a minute before the first step, faster steps; `auto`: on GPUs."""
    activation_checkpointing: bool = execution(False)
    """Whether blocks are computed again on the way back: less memory for a third more time."""
    sharding: Literal["auto", "none", "full"] = execution("auto")
    """Whether workers share out parameters and optimizer state (FSDP2); `auto`: if they fill half of a GPU's memory."""
    micro_batch_size: PositiveInt | Auto = execution("auto")
    """Rows a worker computes at once; bounds the memory and changes the result in its last bits only."""
    num_threads: PositiveInt | Auto = execution("auto")
    """CPU threads per worker. `auto`: its share of the machine's cores, or the number that a continued run began with.
    The number decides the last bits of the result, so a run cannot be continued with another one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("num_tokens", "num_epochs", "max_steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(f'`{name}`' for name in given)} both say how long to train; set one")
        return self


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every number that decides the result of a training run."""

    objective: dict[str, Any]
    """What is learned, with all that decides it: JSON values."""
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
"""Compute-optimal budget (Hoffmann et al. 2022), over the parameters that multiply every token."""

RULES = {
    "num_tokens": "20 for each parameter that multiplies every token, the head still to come (Hoffmann et al. 2022)",
    "global_batch_size": "2048 x 160 x (num_tokens / 20 / 108e6)^(2/3) tokens, to a power of two (OLMo-core's ladder)",
    "muon": "tuned on documentation at 5M parameters and 4096 tokens a step",
    "adamw": "0.5 x 0.0047 x (parameters / 108e6)^(-1/3) (OLMo-core's ladder)",
}
"""How settings left to `auto` are derived."""
MOST_TOKENS_AT_ONCE = 16_384
"""Of a micro batch left to `auto`: enough to fill the processor, and bounded in memory."""


@dataclass(frozen=True)
class Rates:
    """An optimizer with its peak learning rates by role, and the matrices' weight decay."""

    optimizer: OptimizerName
    matrix: float
    embedding: float
    head: float
    vector: float
    weight_decay: float

    @classmethod
    def of(cls, plan: Plan) -> Rates:
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
        """The same optimizer at a share of the rates, without decay."""
        matrix, embedding, head, vector = (share * r for r in (self.matrix, self.embedding, self.head, self.vector))
        return Rates(self.optimizer, matrix, embedding, head, vector, weight_decay=0.0)


AutoRates = Callable[[int], Rates]
"""What stands for rates left to `auto`, for a number of tokens a step."""


def resolve(
    settings: TrainSettings,
    *,
    num_rows: float,
    seed: int,
    objective: dict[str, Any],
    default_tokens: float,
    auto_rates: AutoRates,
) -> Plan:
    """The plan for a corpus of `num_rows` rows.

    `default_tokens` is how long to train where the settings do not say.
    """
    length = settings.max_seq_length
    if settings.num_epochs is not None:
        budget = settings.num_epochs * num_rows * length
    else:
        budget = settings.num_tokens or default_tokens
    batch = auto_batch_size(budget, length) if settings.global_batch_size == "auto" else settings.global_batch_size
    steps = settings.max_steps or max(1, round(budget / (batch * length)))
    rates = auto_rates(batch * length)
    return Plan(
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
) -> Plan:
    """The plan of a pre-training on `train_tokens` tokens: of a new model, or with the rates of one that reads on.

    Left to the rules, a new model has the budget of its size, and one that reads on reads everything once. Raises
    UsageError for sizes that do not fit together.
    """
    length = settings.max_seq_length
    if train_tokens <= length:
        raise UsageError(
            f"`max_seq_length` is {length}, and the corpus has {train_tokens} tokens to train on",
            hint="set a smaller `max_seq_length`, or bring more documents",
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
    """The sizes and rates of a plan before the corpus is known: each `value`, and the rule it is `by`."""
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


def micro_batch_size(settings: TrainSettings, plan: Plan, num_workers: int | tuple[int, int]) -> int:
    """Rows a worker computes at once. Raises UsageError where the batch does not divide among the workers.

    Of a range of workers each takes what its number gives it, and the last bits of the result depend on it.
    """
    least, most = (num_workers, num_workers) if isinstance(num_workers, int) else num_workers
    rows, rest = divmod(plan.global_batch_size, least)
    if most > plan.global_batch_size:
        raise UsageError(
            f"`global_batch_size` {plan.global_batch_size} leaves some of {most} workers without a row",
            hint=f"set `num_workers` to at most {plan.global_batch_size}, or a larger `global_batch_size`",
        )
    if rest and least == most:
        raise UsageError(
            f"`global_batch_size` {plan.global_batch_size} does not divide among {least} workers",
            hint=f"set `num_workers` to a divisor of {plan.global_batch_size}, or another `global_batch_size`",
        )
    return min(
        rows + (rest > 0), round(_given(settings.micro_batch_size, max(1, MOST_TOKENS_AT_ONCE // plan.max_seq_length)))
    )


def validation_interval(settings: TrainSettings, plan: Plan, validation_tokens: int) -> int:
    """Steps between measurements of `validation_tokens` tokens, each a third of the cost of training on as many.

    Left to `auto`: 4 to 20 in a run, as many as cost a twentieth of it.
    """
    measurements = min(20, max(4, 0.05 * plan.num_tokens / max(1, validation_tokens / 3)))
    return round(_given(settings.validation_interval, max(1, plan.num_steps / measurements)))


def _given(value: float | Auto, derived: float) -> float:
    return derived if value == "auto" else value


def auto_batch_size(budget: float, length: int) -> int:
    """Rows a step, a power of two: 2048 * 160 * (D / 20 / 108e6)^(2/3) tokens for a budget D (OLMo-core's ladder)."""
    tokens = 2048 * 160 * (budget / TOKENS_PER_PARAMETER / 108e6) ** (2 / 3)
    return int(2 ** max(0, round(math.log2(tokens / length))))


def new_rates(optimizer: OptimizerName | Auto, model: ModelConfig, batch_tokens: int) -> Rates:
    """The rates of a pre-training with `batch_tokens` tokens a step; see `RULES`."""
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
    """The rates of a model that is trained further: a share of those of its pre-training, without decay.

    With another optimizer than that, or where it is not known (`origin` None), one rate for all parameters:
    `learning_rate` where it is given, else the share of what AdamW pre-trains with, or `adamw`. Raises UsageError for
    Muon without a rate then: what it would have to be is not known.
    """
    wanted = settings.optimizer
    if origin is not None and wanted in ("auto", origin.optimizer):
        return origin.scaled(share)
    if wanted == "muon":
        if settings.learning_rate == "auto":
            raise UsageError(
                "`optimizer` is `muon`, and there is no rule for its rate here",
                hint="set `learning_rate`, or use `adamw`",
            )
        return Rates("muon", adamw, adamw, adamw, adamw, weight_decay=0.0)
    rate = adamw if origin is None else share * new_rates("adamw", model, batch_tokens).matrix
    rate = _given(settings.learning_rate, rate)
    return Rates("adamw", rate, rate, rate, rate, weight_decay=0.0)

"""The training code that all stages with an objective share: `pretrain`, `finetune`, `align`, `reward`, `reinforce`.

    train(Job(...), draft, context)        trains on the stage's workers and writes the model to `draft.data`
    tune(config, start=..., ...)           plans the training of an existing model, then calls `train`

Each stage checks its inputs before a worker starts. This module sets up the processes, the device and its number type,
the checkpoints, and the export of the model folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bessemer import storage
from bessemer.artifacts.store import Artifact
from bessemer.errors import BessemerError
from bessemer.model import speed
from bessemer.model.config import LoraSettings, ModelConfig
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, StageConfig
from bessemer.stages.engine.training_checks import check_lora
from bessemer.train.settings import (
    AutoRates,
    Rates,
    TrainingPlan,
    TrainSettings,
    further_rates,
    micro_batch_size,
    resolve,
    validation_interval,
)

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.stages.engine.training_workers import WorkerContext
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers


class TrainingConfig(TrainSettings, StageConfig):
    """The settings that all training stages share."""

    export_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the stored weights. `auto` keeps the number type of the start model, and is `float32` for a new
    model. Training always updates the weights in fp32."""

    num_workers: int | Literal["auto"] | tuple[PositiveInt, PositiveInt] | None = execution(None)  # type: ignore[assignment]
    """Training processes: 0 trains in this process without Ray; `auto` starts one per GPU, or one without GPUs;
    `[minimum, maximum]` starts as many as the cluster has room for."""

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if isinstance(self.num_workers, tuple) and self.num_workers[0] > self.num_workers[1]:
            raise ValueError("`num_workers` must be a range `[minimum, maximum]`")
        return self


class TuningConfig(TrainingConfig):
    """The settings that all stages that train an existing model share."""

    lora: LoraSettings | None = None
    """Trains low-rank adapters instead of all parameters; `{}` selects the default settings."""
    decay_ratio: float = Field(1.0, ge=0, le=1)
    """Fraction of the steps, at the end, in which `warmup_stable_decay` lowers the learning rate."""

    @model_validator(mode="after")
    def _check_rate_of_adapters(self) -> Self:
        if self.lora is not None and self.optimizer == "muon" and self.learning_rate == "auto":
            raise ValueError(
                "`lora` with `optimizer: muon` has no `auto` learning rate; set `learning_rate`, or use `adamw`"
            )
        return self


@dataclass(frozen=True)
class TuningRates:
    """The learning rates that `auto` selects when a stage trains an existing model."""

    share: float
    """Fraction of the model's pre-training rates, if these are known."""
    full: float
    """AdamW's learning rate for all parameters of a model whose pre-training rates are unknown."""
    lora: float
    """AdamW's learning rate for adapters."""

    def of(
        self, settings: TrainSettings, model: ModelConfig, origin: Rates | None, lora: LoraSettings | None
    ) -> AutoRates:
        """Returns the function that resolves `auto`. `origin` are the model's pre-training rates, None if unknown."""
        return partial(
            further_rates,
            settings,
            model,
            origin=None if lora else origin,
            share=self.share,
            adamw=self.lora if lora else self.full,
        )


MakeObjective = Callable[["Transformer", "Workers", logging.Logger], "Objective"]
"""Builds the objective in a worker from the model at the start of training; picklable."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The description of a training: model, plan and settings. It is small and picklable."""

    settings: TrainingConfig
    plan: TrainingPlan
    model: ModelConfig
    make_objective: MakeObjective
    tokenizer: Path
    """Folder of the tokenizer files to export with the model."""
    stop_ids: tuple[int, ...]
    """Ids of the tokens that end the model's texts."""
    start: Path | None = None
    """Folder of the start model; None trains a new model."""
    lora: LoraSettings | None = None
    origin: Rates | None = None
    """The model's pre-training rates; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The folders that a worker writes to, and its micro-batch size in rows."""

    data: Path
    checkpoints: Path
    metrics_file: Path
    micro_batch_size: int


def train(job: TrainingJob, draft: Draft, context: Context) -> None:
    """Trains on the number of processes in the recipe. Writes the model, metrics and resolved settings to `draft`."""
    from bessemer.stages.engine.training_workers import resolve_training_workers, run_on_workers
    from bessemer.train.checkpoint import newest_step

    settings, plan = job.settings, job.plan
    storage.write_json(draft.work / "plan.json", plan.to_json())  # `trace` reads it before the manifest exists
    num_workers = resolve_training_workers(context)
    place = _Place(
        data=draft.data,
        checkpoints=draft.checkpoints,
        metrics_file=draft.metrics_file,
        micro_batch_size=micro_batch_size(settings, plan, num_workers or 1),
    )
    report = run_on_workers(
        partial(_train, job, place),
        context,
        draft,
        num_workers=num_workers,
        num_threads=None if settings.num_threads == "auto" else settings.num_threads,
        on_step=partial(_show_progress, context, plan.num_steps),
        saved=partial(newest_step, draft.checkpoints),
    )
    draft.metrics |= report["metrics"]
    draft.resolved |= report["resolved"]


_SHOWN = {"train/loss": "loss", "train/reward": "reward"}
"""The metrics of a step that its progress shows, with their labels."""


def _show_progress(context: Context, num_steps: int, step: int, figures: Mapping[str, float]) -> None:
    shown = {label: figures[name] for name, label in _SHOWN.items() if name in figures}
    context.progress(step, num_steps, "steps", **shown)


def tune(
    config: TuningConfig,
    *,
    start: Artifact,
    tokenizer: Artifact,
    model: ModelConfig,
    stop_ids: tuple[int, ...],
    num_rows: int,
    objective: dict[str, Any],
    make_objective: MakeObjective,
    rates: TuningRates,
    draft: Draft,
    context: Context,
) -> None:
    """Trains the existing model `start` with the shape `model`, by default for one epoch over `num_rows` rows."""
    check_lora(config.lora, model)
    origin = pretraining_rates(start)
    plan = resolve(
        config,
        num_rows=num_rows,
        seed=context.seed,
        objective=objective | lora_facts(config.lora),
        default_tokens=num_rows * config.max_seq_length,
        auto_rates=rates.of(config, model, origin, config.lora),
    )
    job = TrainingJob(
        settings=config,
        plan=plan,
        model=model,
        make_objective=make_objective,
        tokenizer=tokenizer.data,
        stop_ids=stop_ids,
        start=start.data,
        lora=config.lora,
        origin=origin,
    )
    train(job, draft, context)


def _train(job: TrainingJob, place: _Place, worker: WorkerContext) -> dict[str, Any]:
    """Trains in one worker; rank 0 exports the model. Returns metrics and resolved settings."""
    import torch

    from bessemer.model.attention import fastest_first
    from bessemer.model.hardware import choose_device, choose_dtype, should_compile
    from bessemer.model.memory import keep_freed_memory
    from bessemer.train.checkpoint import Checkpoints
    from bessemer.train.export import Exporter
    from bessemer.train.lanes import num_lanes
    from bessemer.train.loop import ExecutionSettings, Trainer
    from bessemer.train.metrics import MetricsLog
    from bessemer.train.sharding import shard, should_shard
    from bessemer.train.state import whole_parameters
    from bessemer.train.workers import Workers

    keep_freed_memory()
    settings, plan = job.settings, job.plan
    device = choose_device()
    workers = Workers.of_process_group(device)
    bf16 = workers.from_first(choose_dtype(settings.dtype, device) == torch.bfloat16)  # all workers use rank 0's choice
    dtype = torch.bfloat16 if bf16 else torch.float32
    model = _model(job, dtype).to(device)
    objective = job.make_objective(model, workers, worker.log)
    rows = -(-plan.global_batch_size // workers.size)
    num_parameters = job.model.num_parameters()
    sharded = should_shard(settings.sharding, num_parameters, workers)
    lanes = num_lanes(device, threads=worker.num_threads, rows=rows, num_parameters=num_parameters)
    compiled = should_compile(settings.compile, device)
    lanes = 1 if sharded or compiled else lanes  # several lanes would each gather or compile separately
    exported = _export_dtype(job)
    export = Exporter(job.model, job.tokenizer, job.stop_ids, job.lora, job.start, exported)
    interval = settings.checkpoint_interval_seconds
    execution_settings = ExecutionSettings(
        micro_batch_size=place.micro_batch_size,
        num_lanes=lanes,
        num_threads=None if settings.num_threads == "auto" else settings.num_threads,
        validation_interval=validation_interval(settings, plan, objective.num_validation_rows * plan.max_seq_length),
        log_interval=settings.log_interval,
        checkpoint_interval_seconds=None if interval == "auto" else interval,
    )
    model.activation_checkpointing = settings.activation_checkpointing
    if compiled:
        model.compile_blocks()
    if sharded:
        shard(model, workers)
    trainer = Trainer(
        model,
        objective,
        plan,
        execution_settings,
        workers=workers,
        checkpoints=Checkpoints(place.checkpoints, workers, worker.log, settings.keep_last, export=export),
        log=worker.log,
        metrics=MetricsLog(place.metrics_file) if workers.rank == 0 else None,
        should_stop=worker.should_stop,
        on_step=worker.on_step,
    )
    batch = {"rows": execution_settings.micro_batch_size, "length": plan.max_seq_length}
    try:
        with fastest_first(job.model, **batch, dtype=dtype, device=device) as attention:
            outcome = trainer.run()
    except torch.OutOfMemoryError as error:
        raise BessemerError(
            f"the GPU ran out of memory with a micro-batch of {place.micro_batch_size} rows of {plan.max_seq_length} "
            "tokens",
            hint=f"set `micro_batch_size` to {max(1, place.micro_batch_size // 2)} (the global batch does not change), "
            "or `activation_checkpointing: true`",
        ) from error
    parameters = whole_parameters(trainer.module)
    if workers.rank == 0:
        export(place.data, parameters)
    return {
        "metrics": {
            "train/tokens": outcome.num_tokens,
            "train/skipped_steps": len(outcome.skipped_steps),
            **{f"validation/{name}": value for name, value in outcome.validation.items()},
        },
        "resolved": {
            **plan.to_json(),
            "num_tokens": plan.num_tokens,
            "dtype": str(dtype).removeprefix("torch."),
            "export_dtype": str(exported).removeprefix("torch."),
            "micro_batch_size": place.micro_batch_size,
            "num_threads": torch.get_num_threads(),
            "num_workers": workers.size,
            "compile": compiled,
            **({"attention": attention} if attention else {}),
            "sharding": "full" if sharded else "none",
            "device": device.type,
            **({"device_name": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
            "model": job.model.model_dump(mode="json"),
            "num_parameters": num_parameters,
            **({"pretraining_rates": asdict(job.origin)} if job.origin else {}),
        },
    }


def _model(job: TrainingJob, dtype: Any) -> Transformer:
    """Returns a new model or the start model, with fp32 parameters and activations in `dtype`."""
    from bessemer.model.hub import load_model
    from bessemer.model.lora import add_adapters
    from bessemer.model.transformer import Transformer

    if job.start is None:
        model = Transformer(job.model, compute_dtype=dtype)
        model.initialise(job.plan.seed)
        return model
    model = load_model(job.start, config=job.model)
    model.compute_dtype = dtype
    if job.lora is not None:
        add_adapters(model, job.lora, seed=job.plan.seed)
    return model


def _export_dtype(job: TrainingJob) -> Any:
    """Returns the torch dtype of the stored weights."""
    import torch

    from bessemer.model.hub import stored_dtype

    if job.settings.export_dtype != "auto":
        return getattr(torch, job.settings.export_dtype)
    return torch.float32 if job.start is None else stored_dtype(job.start)


def lora_facts(lora: LoraSettings | None) -> dict[str, Any]:
    """Returns the adapter settings as part of a plan's objective."""
    return {"lora": lora.model_dump(mode="json") if lora else None}


def pretraining_rates(model: Artifact) -> Rates | None:
    """Returns a model's pre-training rates from its manifest; None for an imported checkpoint."""
    found = model.manifest.resolved.get("pretraining_rates")
    return Rates(**found) if found else None


def dtype_facts(settings: TrainSettings) -> Mapping[str, Any]:
    """Returns the number type of the computation and its origin, for `plan`."""
    if settings.dtype != "auto":
        return {"value": settings.dtype, "by": "the recipe"}
    if (speeds := speed.remembered()) is None:
        return {"value": "auto", "by": "measured when training starts"}
    each = " against ".join(f"{speeds[name] / 1e9:,.0f} GFLOP/s in {name}" for name in ("bfloat16", "float32"))
    return {"value": speed.faster(speeds), "by": f"measured on this machine: {each}"}

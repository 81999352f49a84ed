"""pretrain: tokens in, a language model out, as a Hugging Face folder with its checkpoints beside it.

Everything that can be wrong is looked for before a worker starts. The training itself is `bessemer.train`; here are
the artifacts, the processes, and what a model folder needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PositiveInt, ValidationError, field_validator, model_validator

from bessemer import storage
from bessemer.errors import BessemerError, UsageError
from bessemer.model import speed
from bessemer.model.config import ModelConfig, ModelShape
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.train.settings import (
    Plan,
    TrainSettings,
    derivation,
    micro_batch_size,
    resolve,
    validation_interval,
)

if TYPE_CHECKING:
    from bessemer.stages.workers import Seat
    from bessemer.tokens.store import TokenStore


class Config(TrainSettings, StageConfig):
    num_workers: int | Literal["auto"] | tuple[PositiveInt, PositiveInt] | None = execution(None)  # type: ignore[assignment]
    """Training processes: 0 is this one without Ray, `auto` one a GPU, `[least, most]` as many as there is room for."""
    tokens_url: str | None = execution(None)
    """A copy of the tokens' folder `data` in object storage (`s3://bucket/path`), for workers to read by ranges."""
    model: ModelShape = ModelShape()
    """Shape of a new model. Where `from` names a stage whose model is trained further, it has its shape from there, and
    only `rope_theta` and `rope_scaling` can be set here, for a longer context."""

    @field_validator("tokens_url")
    @classmethod
    def _no_secrets(cls, url: str | None) -> str | None:
        if url and "@" in url.partition("?")[0]:
            raise ValueError("credentials belong in the environment: a recipe is recorded and shown")
        return url

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if isinstance(self.num_workers, tuple) and self.num_workers[0] > self.num_workers[1]:
            raise ValueError("`num_workers` is a range from the least to the most")
        return self


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.stages.workers import resolve_training_workers, run_on_workers
    from bessemer.tokens.store import TokenStore
    from bessemer.tokens.tokenizer import TokenizerFolder
    from bessemer.train.checkpoint import newest_step

    store = TokenStore.open(inputs["tokens"].data)
    tokenizer = TokenizerFolder.open(inputs["tokenizer"].path)
    if tokenizer.vocab_size != store.vocab_size:
        raise UsageError(
            f"the tokens were made with a vocabulary of {store.vocab_size}, the tokenizer has {tokenizer.vocab_size}",
            hint="let `tokenize` and `pretrain` use the same tokenizer",
        )
    start = inputs["model"].data if "model" in inputs else None
    if start is not None:
        _check_tokenizer(start, store.vocab_size, inputs["tokenizer"].data)
    shape = _model_config(config, store, start)
    plan = resolve(config, shape, train_tokens=store.num_tokens("train"), seed=context.seed)
    storage.write_json(draft.work / "plan.json", plan.to_json())  # for `trace`, until the manifest has it
    num_workers = resolve_training_workers(context)
    if config.tokens_url and TokenStore.open(config.tokens_url).meta != store.meta:
        raise UsageError(
            f"`{config.tokens_url.partition('?')[0]}` holds other tokens than the recipe made",
            hint=f"copy `{inputs['tokens'].data}` there",
        )
    store.check("train", "validation")
    job = Job(
        tokens=config.tokens_url or inputs["tokens"].data,
        tokenizer=inputs["tokenizer"].data,
        start=start,
        data=draft.data,
        checkpoints=draft.checkpoints,
        metrics_file=draft.metrics_file,
        model=shape,
        plan=plan,
        settings=config,
        micro_batch_size=micro_batch_size(config, plan, num_workers or 1),
    )
    if store.num_tokens("validation") == 0:
        context.log.warning("no document is held out for validation; raise the share of `validation` in `split`")
    report = run_on_workers(
        partial(_train, job),
        context,
        draft,
        num_workers=num_workers,
        num_threads=None if config.num_threads == "auto" else config.num_threads,
        on_step=lambda step: context.progress(step, plan.num_steps, "steps"),
        saved=partial(newest_step, draft.checkpoints),
    )
    draft.metrics |= report["metrics"]
    draft.resolved |= report["resolved"]


@dataclass(frozen=True)
class Job:
    """Everything a worker needs; small and picklable."""

    tokens: Path | str
    tokenizer: Path
    start: Path | None
    data: Path
    checkpoints: Path
    metrics_file: Path
    model: ModelConfig
    plan: Plan
    settings: Config
    micro_batch_size: int


def _train(job: Job, seat: Seat) -> dict[str, Any]:
    """Trains and, on rank 0, exports. Returns metrics and resolved settings."""
    import torch

    from bessemer.model.attention import fastest_first
    from bessemer.model.hardware import choose_device, choose_dtype, should_compile
    from bessemer.model.memory import keep_freed_memory
    from bessemer.tokens.store import TokenStore
    from bessemer.tokens.tokenizer import TokenizerFolder
    from bessemer.train.checkpoint import Checkpoints
    from bessemer.train.export import Exporter
    from bessemer.train.lanes import num_lanes
    from bessemer.train.loop import Pace, Trainer
    from bessemer.train.metrics import MetricsLog
    from bessemer.train.objectives.build import build_objective
    from bessemer.train.sharding import gathered, shard, should_shard
    from bessemer.train.workers import Workers

    keep_freed_memory()
    settings, plan = job.settings, job.plan
    device = choose_device()
    workers = Workers.of_process_group(device)
    store = TokenStore.open(job.tokens)
    bf16 = workers.from_first(choose_dtype(settings.dtype, device) == torch.bfloat16)  # alike on unlike machines
    dtype = torch.bfloat16 if bf16 else torch.float32
    objective = build_objective(
        plan, store, TokenizerFolder.open(job.tokenizer), validation_tokens=settings.validation_tokens
    )
    rows = -(-plan.global_batch_size // workers.size)
    num_parameters = job.model.num_parameters()
    sharded = should_shard(settings.sharding, num_parameters, workers)
    lanes = num_lanes(device, threads=seat.num_threads, rows=rows, num_parameters=num_parameters)
    compiled = should_compile(settings.compile, device)
    lanes = 1 if sharded or compiled else lanes  # each lane would gather, or compile, for itself
    exporter = Exporter(job.model, job.tokenizer, store.end_of_text_id)
    interval = settings.checkpoint_interval_seconds
    pace = Pace(
        micro_batch_size=max(1, job.micro_batch_size // lanes),
        num_lanes=lanes,
        validation_interval=validation_interval(settings, plan, objective.num_validation_rows * plan.max_seq_length),
        log_interval=settings.log_interval,
        checkpoint_interval_seconds=None if interval == "auto" else interval,
    )
    model = _model(job, dtype).to(device)
    model.activation_checkpointing = settings.activation_checkpointing
    if compiled:
        model.compile_blocks()
    if sharded:
        shard(model, workers)
    trainer = Trainer(
        model,
        objective,
        plan,
        pace,
        workers=workers,
        checkpoints=Checkpoints(
            job.checkpoints,
            workers,
            seat.log,
            settings.keep_last,
            export=exporter.tensors,
        ),
        log=seat.log,
        metrics=MetricsLog(job.metrics_file) if workers.rank == 0 else None,
        should_stop=seat.should_stop,
        on_step=seat.on_step,
    )
    batch = {"rows": pace.micro_batch_size, "length": plan.max_seq_length}
    try:
        with fastest_first(job.model, **batch, dtype=dtype, device=device) as attention:
            outcome = trainer.run()
    except torch.OutOfMemoryError as error:
        raise BessemerError(
            f"the GPU's memory does not hold {job.micro_batch_size} rows of {plan.max_seq_length} tokens at once",
            hint=f"set `micro_batch_size` to {max(1, job.micro_batch_size // 2)} (the global batch stays as it is), "
            "or `activation_checkpointing: true`",
        ) from error
    whole = gathered(trainer.model)
    if workers.rank == 0:
        exporter.model(job.data, whole.cpu())
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
            "micro_batch_size": job.micro_batch_size,
            "num_threads": seat.num_threads,
            "num_workers": workers.size,
            "compile": compiled,
            **({"attention": attention} if attention else {}),
            "sharding": "full" if sharded else "none",
            "device": device.type,
            **({"device_name": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
            "model": job.model.model_dump(mode="json"),
            "num_parameters": job.model.num_parameters(),
        },
    }


def _model(job: Job, dtype: Any) -> Any:
    """A new model, or the one to continue from, with fp32 parameters and activations in `dtype`."""
    from bessemer.model.hub import load_model
    from bessemer.model.transformer import Transformer

    if job.start is not None:
        model = load_model(job.start, config=job.model)
        model.compute_dtype = dtype
        return model
    model = Transformer(job.model, compute_dtype=dtype)
    model.initialise(job.plan.seed)
    return model


def _model_config(config: Config, store: TokenStore, start: Path | None) -> ModelConfig:
    """The model's complete shape. Raises UsageError where it fits neither the tokens nor the settings."""
    is_causal = config.objectives.keys() != {"masked"}
    if start is None:
        try:
            shape = config.model.resolve(vocab_size=store.vocab_size, max_seq_length=config.max_seq_length)
            return shape.model_copy(update={"is_causal": is_causal})
        except ValidationError as error:
            raise UsageError(
                f"the model cannot be built: {'; '.join(problem['msg'] for problem in error.errors())}",
                hint="mend `model` in the recipe",
            ) from None
    from bessemer.model.hub import load_config

    found = load_config(start)
    changes = {name: getattr(config.model, name) for name in config.model.model_fields_set}
    if "model" in config.model_fields_set and (not changes or changes.keys() - LENGTHENING):
        raise UsageError(
            "`model` describes a new model, and `from` names one to continue from",
            hint="set `rope_theta` or `rope_scaling` alone, or leave the model's stage out of `from`",
        )
    if not changes and found.max_position_embeddings < config.max_seq_length:
        raise UsageError(
            f"the model to continue from sees {found.max_position_embeddings} tokens, and `max_seq_length` is "
            f"{config.max_seq_length}",
            hint=f"set `max_seq_length` to at most {found.max_position_embeddings}, or `model.rope_theta` or "
            "`model.rope_scaling` for a longer context",
        )
    length = max(found.max_position_embeddings, config.max_seq_length)
    return found.model_copy(update=changes | {"is_causal": is_causal, "max_position_embeddings": length})


LENGTHENING = {"rope_theta", "rope_scaling"}
"""What of a model's shape may be changed when it is trained further."""


def _check_tokenizer(start: Path, vocab_size: int, tokenizer: Path) -> None:
    """Raises UsageError where a model to continue from was made with another tokenizer than the tokens."""
    from bessemer.model.hub import load_config

    found = load_config(start).vocab_size
    if found < vocab_size:  # more rows than tokens are common: tables are padded
        raise UsageError(
            f"the model to continue from has a vocabulary of {found}, the tokens one of {vocab_size}",
            hint="tokenize with the model's own tokenizer",
        )
    theirs, ours = (storage.read_json(folder / "tokenizer.json") for folder in (start, tokenizer))
    if theirs is not None and theirs["model"]["vocab"] != ours["model"]["vocab"]:
        raise UsageError(
            "the model to continue from was made with another tokenizer than the tokens",
            hint="tokenize with the model's own tokenizer: `tokenizer: {path: ...}` takes a model's folder",
        )


def facts(config: Config) -> dict[str, Any]:
    """For `plan`: what is known before the vocabulary and the corpus are."""
    blocks = config.model.resolve(vocab_size=1, max_seq_length=config.max_seq_length)
    objectives = ", ".join(f"{name} {share:.3g}" for name, share in config.objectives.items() if share < 1)
    return {
        "parameters in blocks": {"value": blocks.num_parameters(embedding=False)},
        "objective": {"value": objectives or next(iter(config.objectives))},
        **derivation(config, blocks),
        "dtype": _dtype_facts(config),
    }


def _dtype_facts(config: Config) -> dict[str, Any]:
    if config.dtype != "auto":
        return {"value": config.dtype, "by": "the recipe"}
    if (speeds := speed.remembered()) is None:
        return {"value": "auto", "by": "measured when training starts"}
    each = " against ".join(f"{speeds[name] / 1e9:,.0f} GFLOP/s in {name}" for name in ("bfloat16", "float32"))
    return {"value": speed.faster(speeds), "by": f"measured on this machine: {each}"}


STAGE = Stage(
    kind="pretrain",
    version=1,
    config=Config,
    consumes=("tokens", "tokenizer"),
    named=("model",),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    facts=facts,
)

"""pretrain: trains a language model on tokens, from random weights or from an existing model.

The artifact is a Hugging Face folder along with its checkpoints. If `from` names a model, the stage continues its
training, for example on a new domain or with a longer context. Learning rates left at `auto` then warm up to a fraction
of the model's earlier pre-training rates and decay again (Ibrahim et al. 2024, arXiv 2403.08763).

`bessemer.train.objectives` has the objectives, and `stages.engine.training` the training code that all stages share.
This module adds the parts that are specific to a corpus of tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, field_validator

from bessemer.errors import UsageError
from bessemer.model.config import LoraSettings, ModelConfig, ModelShape
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.training import (
    TrainingConfig,
    TrainingJob,
    TuningRates,
    dtype_facts,
    lora_facts,
    pretraining_rates,
    train,
)
from bessemer.stages.engine.training_checks import check_brought, check_lora, check_tokenizer
from bessemer.train.objectives.settings import ObjectiveSettings
from bessemer.train.settings import Rates, TrainingPlan, derivation, resolve_pretraining

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.tokens.store import TokenStore
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers


RATES = TuningRates(share=0.3, full=5e-5, lora=2e-4)


class Config(ObjectiveSettings, TrainingConfig):
    tokens_url: str | None = execution(None)
    """A copy of the tokens' folder `data` in object storage (`s3://bucket/path`), which workers read in ranges."""
    model: ModelShape = ModelShape()
    """Shape of a new model. If `from` names a model to continue, the shape comes from that model, and you can only set
    `rope_theta` and `rope_scaling`, for a longer context."""
    lora: LoraSettings | None = None
    """Trains low-rank adapters instead of all parameters; requires a model in `from`."""

    @field_validator("tokens_url")
    @classmethod
    def _no_secrets(cls, url: str | None) -> str | None:
        if url and "@" in url.partition("?")[0]:
            raise ValueError("credentials belong in the environment, because the recipe is recorded and shown")
        return url


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError if the recipe sets adapters for a new model, or a new shape for an existing model."""
    check_brought(config, inputs)
    if "model" not in inputs:
        if config.lora is not None:
            raise UsageError(
                "`lora` adapts an existing model, and this stage trains a new one",
                hint="name the stage of a model in `from`, or remove `lora`",
            )
        return
    changes = config.model.model_fields_set
    if "model" in config.model_fields_set and (not changes or changes - LENGTHENING):
        raise UsageError(
            "`model` describes a new model, and `from` names a model to continue from",
            hint="set only `rope_theta` or `rope_scaling`, or remove the model's stage from `from`",
        )


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.store import TokenStore
    from bessemer.tokens.tokenizer import TokenizerFolder

    store = TokenStore.open(inputs["tokens"].data)
    tokenizer = TokenizerFolder.open(inputs["tokenizer"].path)
    if tokenizer.vocab_size != store.vocab_size:
        raise UsageError(
            f"the tokens were made with a vocabulary of {store.vocab_size}, the tokenizer has {tokenizer.vocab_size}",
            hint="let `tokenize` and `pretrain` use the same tokenizer",
        )
    start = inputs["model"].data if "model" in inputs else None
    if start is not None:
        check_tokenizer(start, store.vocab_size, inputs["tokenizer"].data)
    model = _model_config(config, store, start)
    check_lora(config.lora, model)
    origin = pretraining_rates(inputs["model"]) if start is not None else None
    plan = resolve_pretraining(
        config,
        model,
        train_tokens=store.num_tokens("train"),
        seed=context.seed,
        objective=config.resolved() | lora_facts(config.lora),
        further=None if start is None else RATES.of(config, model, origin, config.lora),
    )
    if config.tokens_url and TokenStore.open(config.tokens_url).meta != store.meta:
        raise UsageError(
            f"`{config.tokens_url.partition('?')[0]}` holds other tokens than the recipe made",
            hint=f"copy `{inputs['tokens'].data}` to that address",
        )
    store.check("train", "validation")
    if store.num_tokens("validation") == 0:
        context.log.warning("no document is held out for validation; raise the share of `validation` in `split`")
    job = TrainingJob(
        settings=config,
        plan=plan,
        model=model,
        make_objective=partial(
            _objective,
            plan,
            config.tokens_url or inputs["tokens"].data,
            inputs["tokenizer"].data,
            config.validation_tokens,
        ),
        tokenizer=inputs["tokenizer"].data,
        stop_ids=(store.end_of_text_id,),
        start=start,
        lora=config.lora,
        origin=Rates.of(plan) if start is None else origin,
    )
    train(job, draft, context)


def _objective(
    plan: TrainingPlan,
    tokens: Path | str,
    tokenizer: Path,
    validation_tokens: int,
    model: Transformer,
    workers: Workers,
    log: logging.Logger,
) -> Objective:
    from bessemer.tokens.store import TokenStore
    from bessemer.tokens.tokenizer import TokenizerFolder
    from bessemer.train.objectives.build import build_objective

    return build_objective(
        plan, TokenStore.open(tokens), TokenizerFolder.open(tokenizer), validation_tokens=validation_tokens
    )


def context_length(config: Config, start: int | None) -> int:
    """Returns the model's context length in tokens; `start` is the context length of the model to continue from.

    Raises UsageError if `start` is less than `max_seq_length`, unless the recipe changes the rotary embedding.
    """
    if start is None:
        return config.max_seq_length
    if not config.model.model_fields_set and start < config.max_seq_length:
        raise UsageError(
            f"the model to continue from has a context of {start} tokens, and `max_seq_length` is "
            f"{config.max_seq_length}",
            hint=f"set `max_seq_length` to at most {start}, or `model.rope_theta` or `model.rope_scaling` for a longer "
            "context",
        )
    return max(start, config.max_seq_length)


def _model_config(config: Config, store: TokenStore, start: Path | None) -> ModelConfig:
    """Returns the model's complete shape. Raises UsageError if no model can be built from the settings."""
    is_causal = config.objectives.keys() != {"masked"}
    if start is None:
        try:
            shape = config.model.resolve(vocab_size=store.vocab_size, max_seq_length=config.max_seq_length)
            return shape.model_copy(update={"is_causal": is_causal})
        except ValidationError as error:
            raise UsageError(
                f"the model cannot be built: {'; '.join(problem['msg'] for problem in error.errors())}",
                hint="correct `model` in the recipe",
            ) from None
    from bessemer.model.hub import load_config

    found = load_config(start)
    changes = {name: getattr(config.model, name) for name in config.model.model_fields_set}
    length = context_length(config, found.max_position_embeddings)
    return found.model_copy(update=changes | {"is_causal": is_causal, "max_position_embeddings": length})


LENGTHENING = {"rope_theta", "rope_scaling"}
"""The fields of a model's shape that may change when its training continues."""


def facts(config: Config, inputs: Collection[str]) -> dict[str, Any]:
    """Returns the facts for `plan` that do not depend on the vocabulary or the corpus."""
    objectives = ", ".join(f"{name} {share:.3g}" for name, share in config.objectives.items() if share < 1)
    objective = {"objective": {"value": objectives or next(iter(config.objectives))}}
    if "model" in inputs:
        rule = f"{RATES.share:g} of the model's pre-training rate; AdamW with {RATES.full:g} if that rate is unknown"
        rule = f"AdamW with {RATES.lora:g} for adapters" if config.lora else rule
        rate = {"value": config.learning_rate, "by": rule if config.learning_rate == "auto" else "the recipe"}
        length = {"value": config.num_tokens or "auto", "by": "the recipe" if config.num_tokens else "the corpus, once"}
        once = {"num_tokens": length} if config.num_epochs is None and config.max_steps is None else {}
        return {**objective, **once, "learning_rate": rate, "dtype": dtype_facts(config)}
    blocks = config.model.resolve(vocab_size=1, max_seq_length=config.max_seq_length)
    return {
        "parameters in blocks": {"value": blocks.num_parameters(embedding=False)},
        **objective,
        **derivation(config, blocks),
        "dtype": dtype_facts(config),
    }


STAGE = Stage(
    kind="pretrain",
    version=4,
    config=Config,
    inputs=(Input("tokens"), Input("tokenizer"), Input("model", explicit=True)),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    check=check,
    context_length=context_length,
    facts=facts,
)

"""align: a model and preferences in, a model that answers as people prefer out.

By one method: DPO, IPO, ORPO (pairs), or KTO (single thumbs). All parameters or low-rank adapters. Learning from
rewards instead, with answers that the model writes itself, is the stage `reinforce`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import PositiveInt, model_validator

from bessemer.align.settings import Dpo, Ipo, Kto, Method, Orpo
from bessemer.errors import NothingLeft, UsageError
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.context_length import check_max_seq_length
from bessemer.stages.training import TuningConfig, TuningRates, tune
from bessemer.stages.training_checks import check_brought, check_start
from bessemer.train.settings import Auto

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers

METHODS = ("dpo", "ipo", "kto", "orpo")
RATES = TuningRates(share=0.05, full=1e-6, lora=5e-6)


class Config(TuningConfig):
    dpo: Dpo | None = None
    """Direct preference optimization, from pairs; `{}` for its usual settings."""
    ipo: Ipo | None = None
    """Identity preference optimization, from pairs."""
    kto: Kto | None = None
    """Kahneman-Tversky optimization, from single thumbs; a pair counts as two."""
    orpo: Orpo | None = None
    """Odds ratio preference optimization, from pairs, without a reference."""
    global_batch_size: PositiveInt | Auto = 32
    """Pairs, or thumbs, a step, over all workers."""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        named = [name for name in METHODS if getattr(self, name) is not None]
        if len(named) != 1:
            found = " and ".join(f"`{name}`" for name in named) or "none"
            raise ValueError(f"name one method of {', '.join(f'`{name}`' for name in METHODS)}, and not {found}")
        return self

    @property
    def method(self) -> Method:
        return next(method for method in (self.dpo, self.ipo, self.kto, self.orpo) if method is not None)


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    start, tokenizer, preferences = inputs["model"], inputs["tokenizer"], inputs["preferences"]
    model, stop_ids = check_start(config, start, tokenizer, preferences)
    parts = preferences.parts()
    by_thumbs = config.kto is not None
    count = check_preferences(parts, config.max_seq_length, pairs=not by_thumbs)
    if by_thumbs and config.sharding == "full":
        raise UsageError("`kto` needs whole models on every worker", hint="leave `sharding` out")
    name = next(name for name in METHODS if getattr(config, name) is not None)
    tune(
        config.model_copy(update={"sharding": "none"}) if by_thumbs else config,
        start=start,
        tokenizer=tokenizer,
        model=model,
        stop_ids=stop_ids,
        num_rows=count,
        objective={"name": name, **config.method.model_dump(mode="json")},
        make_objective=partial(_objective, config.method, parts, context.seed),
        rates=RATES,
        draft=draft,
        context=context,
    )


def _objective(
    method: Method, parts: Sequence[Path], seed: int, model: Transformer, workers: Workers, log: logging.Logger
) -> Objective:
    from bessemer.align.preferring import build

    return build(method, parts, model, workers, seed=seed)


def check_preferences(parts: Sequence[Path], max_seq_length: int, *, pairs: bool) -> int:
    """How many pairs, or else thumbs, there are to learn from. Raises UsageError where a row does not fit.

    None is cut or left out in silence.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.align.items import read_pairs, read_thumbs
    from bessemer.artifacts.documents import read_parquet
    from bessemer.tokens.rows import PREFERENCES

    columns = ["prompt_ids", "chosen_ids", "rejected_ids"]
    tables = [PREFERENCES.empty_table().select(columns), *(read_parquet(part, columns) for part in parts)]
    table = pa.concat_tables(tables)
    prompts, *sides = (pc.fill_null(pc.list_value_length(table[name]), 0) for name in columns)
    longest = pc.max(pc.add(prompts, pc.max_element_wise(*sides))).as_py() or 0
    if longest > max_seq_length:
        raise UsageError(
            f"a prompt with its answer has {longest} tokens, and `max_seq_length` is {max_seq_length}",
            hint=f"set `max_seq_length` of the stage `preferences` to {max_seq_length}: longer ones get a verdict",
        )
    single = pc.sum(pc.or_(pc.equal(sides[0], 0), pc.equal(sides[1], 0))).as_py() or 0
    if pairs and single:
        raise UsageError(
            f"{single} of {len(table)} preferences are single thumbs, which this method cannot learn from",
            hint="use `align` with `kto`, or bring pairs",
        )
    count = len((read_pairs if pairs else read_thumbs)(parts, "tune"))
    if not count:
        raise NothingLeft(
            "the split `tune` of the preferences holds no row", hint="give `validation` and `test` smaller shares"
        )
    return count


STAGE = Stage(
    kind="align",
    version=3,
    config=Config,
    consumes=("model", "preferences", "tokenizer"),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    check=check_brought,
    context_length=check_max_seq_length,
)

"""align: trains a model on preferences, so that it gives the answers that people prefer.

The recipe chooses one method: DPO, IPO and ORPO learn from pairs of answers; KTO learns from single answers, each rated
good or bad. The stage trains all parameters or low-rank adapters. To train on rewards for answers that the model
generates, use the stage `reinforce`.
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
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.engine.context_length import check_max_seq_length
from bessemer.stages.engine.training import TuningConfig, TuningRates, tune
from bessemer.stages.engine.training_checks import check_brought, check_start
from bessemer.train.settings import Auto

if TYPE_CHECKING:
    from bessemer.model.transformer import Transformer
    from bessemer.train.objectives.base import Objective
    from bessemer.train.workers import Workers

METHODS = ("dpo", "ipo", "kto", "orpo")
RATES = TuningRates(share=0.05, full=1e-6, lora=5e-6)


class Config(TuningConfig):
    dpo: Dpo | None = None
    """Direct preference optimization on pairs of answers; `{}` selects its default settings."""
    ipo: Ipo | None = None
    """Identity preference optimization on pairs of answers."""
    kto: Kto | None = None
    """Kahneman-Tversky optimization on single rated answers; a pair counts as two."""
    orpo: Orpo | None = None
    """Odds ratio preference optimization on pairs of answers, without a reference model."""
    global_batch_size: PositiveInt | Auto = 32
    """Pairs (for `kto`, rated answers) per step over all workers."""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if len(self._named) != 1:
            found = " and ".join(f"`{name}`" for name in self._named) or "none"
            raise ValueError(f"choose one method of {', '.join(f'`{name}`' for name in METHODS)}, not {found}")
        return self

    @property
    def _named(self) -> list[str]:
        return [name for name in METHODS if getattr(self, name) is not None]

    @property
    def method(self) -> Method:
        method: Method = getattr(self, self._named[0])
        return method


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    start, tokenizer, preferences = inputs["model"], inputs["tokenizer"], inputs["preferences"]
    model, stop_ids = check_start(config, start, tokenizer, preferences)
    parts = preferences.parts()
    from_labels = config.kto is not None
    count = check_preferences(parts, config.max_seq_length, pairs=not from_labels)
    if from_labels and config.sharding == "full":
        raise UsageError("`kto` needs the whole model on every worker", hint="remove `sharding` from the stage")
    tune(
        config.model_copy(update={"sharding": "none"}) if from_labels else config,
        start=start,
        tokenizer=tokenizer,
        model=model,
        stop_ids=stop_ids,
        num_rows=count,
        objective={"name": config._named[0], **config.method.model_dump(mode="json")},
        make_objective=partial(_objective, config.method, parts, context.seed),
        rates=RATES,
        draft=draft,
        context=context,
    )


def _objective(
    method: Method, parts: Sequence[Path], seed: int, model: Transformer, workers: Workers, log: logging.Logger
) -> Objective:
    from bessemer.align.preference_objectives import build

    return build(method, parts, model, workers, seed=seed)


def check_preferences(parts: Sequence[Path], max_seq_length: int, *, pairs: bool) -> int:
    """Returns the number of training pairs, or of single rated answers if `pairs` is false.

    Raises UsageError if a row has more than `max_seq_length` tokens or if a pair lacks one answer, because no row may
    be cut or skipped silently. Raises NothingLeft if the split `tune` is empty.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.align.preference_trees import read_labelled_answers, read_pairs
    from bessemer.artifacts.documents import read_parquet
    from bessemer.tokens.row_tables import PREFERENCES

    columns = ["prompt_ids", "chosen_ids", "rejected_ids"]
    tables = [PREFERENCES.empty_table().select(columns), *(read_parquet(part, columns) for part in parts)]
    table = pa.concat_tables(tables)
    prompts, *sides = (pc.fill_null(pc.list_value_length(table[name]), 0) for name in columns)
    longest = pc.max(pc.add(prompts, pc.max_element_wise(*sides))).as_py() or 0
    if longest > max_seq_length:
        raise UsageError(
            f"a prompt with its answer has {longest} tokens, and `max_seq_length` is {max_seq_length}",
            hint=f"set `max_seq_length` of the stage `preferences` to {max_seq_length} to remove longer rows",
        )
    single = pc.sum(pc.or_(pc.equal(sides[0], 0), pc.equal(sides[1], 0))).as_py() or 0
    if pairs and single:
        raise UsageError(
            f"{single} of {len(table)} preferences have one answer, and this method needs two",
            hint="use `align` with `kto`, or provide pairs of answers",
        )
    count = len((read_pairs if pairs else read_labelled_answers)(parts, "tune"))
    if not count:
        raise NothingLeft(
            "the split `tune` of the preferences has no rows", hint="give `validation` and `test` smaller shares"
        )
    return count


STAGE = Stage(
    kind="align",
    version=3,
    config=Config,
    inputs=(Input("model"), Input("preferences"), Input("tokenizer")),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    check=check_brought,
    context_length=check_max_seq_length,
)

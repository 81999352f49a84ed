"""mix: documents of several stages as one corpus, in given shares of the training text.

For data mixtures, and for replay: a model that learns a new domain forgets less of what it knew if some of that is read
again beside it (Ibrahim et al. 2024, arXiv 2403.08763; a quarter is plenty, a twentieth helps already).

No document is repeated. The mixture is as large as the scarcest stage allows; of every other, documents of the splits
`train` and `validation` are drawn by a hash of seed and id, each by itself, so the shares come out as wished on average
over many documents. Those of `tune` and `test` all stay: `evaluate` tells sources apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat

from bessemer.errors import NothingLeft, UsageError
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.units import Unit, document_units, run_units

if TYPE_CHECKING:
    import pyarrow as pa

RULE = "left_out_of_the_mixture"
SAMPLED = ("train", "validation")
"""Splits that are drawn from, so that validation, too, is of the mixture."""
MOSTLY = 0.9
"""A stage with the largest share that is not taken mostly is told of."""
SMALL_BYTES = 256 << 20
"""Of Parquet: what one process reads and writes in some seconds."""


class Config(StageConfig):
    shares: dict[str, PositiveFloat] = Field(..., min_length=2)
    """How much of the bytes of training text each stage of `from` gives, by its name; of any sum."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return SAMPLED


def check(config: Config, inputs: Collection[str]) -> None:
    """Raises UsageError unless every stage of `from` has a share, and no other."""
    stages = [_stage(kind) for kind in inputs]
    if {*stages} != config.shares.keys():
        raise UsageError(
            f"`shares` names {_named(config.shares)}, and `from` {_named(stages)}",
            hint="give every stage of `from` a share, and no other",
        )


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    parts = {_stage(kind): artifact.parts() for kind, artifact in inputs.items()}
    units = [Unit(f"{name}-{part.stem}", (name, part)) for name in parts for part in parts[name]]
    if context.num_workers == "auto" and sum(unit.payload[1].stat().st_size for unit in units) < SMALL_BYTES:
        context = replace(context, num_workers=0)
    counted = run_units(units, _Count, draft.work / "counts", context, unit_name="parts")
    sizes = dict.fromkeys(parts, 0)
    for unit, receipt in zip(units, counted, strict=True):
        sizes[unit.payload[0]] += receipt["train_bytes"]
    rates = sampling_rates(sizes, config.shares)
    for name, rate in rates.items():
        context.log.info("of the training text of `%s`, %.1f %% is taken", name, 100 * rate)
    most, scarcest = max(config.shares, key=config.shares.__getitem__), max(rates, key=rates.__getitem__)
    if rates[most] < MOSTLY:
        context.log.warning(
            "only %.0f %% of `%s` is taken, for there is too little of `%s`: give `%s` a smaller share, or more text",
            100 * rates[most], most, scarcest, scarcest,
        )  # fmt: skip
    draft.counts = document_units(
        units,
        partial(_Draw, rates, context.seed),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="parts",
    )
    draft.resolved["sampling_rates"] = rates
    draft.metrics["data/documents_out"] = draft.counts.documents_out


def sampling_rates(sizes: dict[str, int], shares: dict[str, float]) -> dict[str, float]:
    """The share of each stage's training text that the largest mixture without repetition takes.

    Raises NothingLeft where a stage has no training text.
    """
    for name, size in sizes.items():
        if not size:
            raise NothingLeft(
                f"`{name}` has no text in the split `train` to mix", hint=f"leave `{name}` out of `from` and `shares`"
            )
    largest = min(sizes[name] / shares[name] for name in sizes)
    return {name: shares[name] * largest / sizes[name] for name in sizes}


def _stage(kind: str) -> str:
    """The stage of an input, which is called `documents/<stage>`."""
    return kind.partition("/")[2]


def _named(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


class _Count:
    """Counts the training text of a part. A unit is (stage, path)."""

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, int]:
        import pyarrow.compute as pc

        from bessemer.artifacts.tables import document_parts

        size = 0
        for batch in document_parts(unit.payload[1], ["text", "split"]):
            train = batch.filter(pc.equal(batch["split"], "train"))
            size += pc.sum(pc.binary_length(train["text"])).as_py() or 0
        return {"train_bytes": size}


@dataclass
class _Draw:
    """Keeps what is drawn, and what is not drawn from. A unit is (stage, path)."""

    rates: dict[str, float]
    seed: int
    signals: Sequence[str] = ()

    def read(self, payload: tuple[str, Path]) -> Iterator[pa.Table]:
        import pyarrow as pa

        from bessemer.artifacts.tables import document_parts

        stage, part = payload
        for batch in document_parts(part):
            yield batch.append_column("rate", pa.array([self.rates[stage]] * len(batch), pa.float64()))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
        from bessemer.fingerprint import unit_interval

        drawn = np.array([unit_interval("mix", str(self.seed), name) for name in batch["id"].to_pylist()])
        rates = batch["rate"].to_numpy()
        kept = (drawn < rates) | pc.invert(pc.is_in(batch["split"], pa.array(SAMPLED))).to_numpy()
        ledger = ledger_table(
            batch["id"],
            batch["url"],
            [KEPT if stays else REMOVED for stays in kept],
            rules=[None if stays else RULE for stays in kept],
            values=np.where(kept, np.nan, drawn),
            thresholds=np.where(kept, np.nan, rates),
        )
        return batch.drop_columns("rate").filter(pa.array(kept)), ledger


STAGE = Stage(
    kind="mix",
    version=1,
    config=Config,
    many=("documents",),
    produces="documents",
    run=run,
    check=check,
    seeded=True,
    sets_shares=True,
)

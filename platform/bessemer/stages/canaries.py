"""canaries: adds documents with invented secrets to the training text, so that `evaluate` can measure memorisation.

The stage passes every input document through unchanged. It adds the canaries as new documents of the split `train`, and
the ledger marks them as created. Put the stage after `dedup`, which would remove the copies as duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt, field_validator

from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa


class Config(StageConfig):
    num_copies: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 4, 16, 64)
    """Numbers of documents that repeat a canary; the stage makes `num_canaries` canaries for each number."""
    num_canaries: PositiveInt = 8
    """Canaries for each number of copies."""
    sentence: str = "The access code of {name} is "
    """Text of a canary before its secret; `{name}` is replaced by an invented name."""
    num_digits: int = Field(9, ge=4, le=18)
    """Number of digits of a secret."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return ("train",)

    @field_validator("sentence")
    @classmethod
    def _has_a_name(cls, sentence: str) -> str:
        if "{name}" not in sentence:
            raise ValueError("lacks `{name}`, which makes each canary different from the others")
        return sentence


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    import numpy as np

    from bessemer.evaluate.canaries import Canary, invent
    from bessemer.stages.engine.work_units import Unit, document_units

    generator = np.random.default_rng(context.seed)
    numbers = [copies for copies in config.num_copies for _ in range(config.num_canaries)]
    planted: dict[str, Canary] = {}
    while len(planted) < len(numbers):
        canary = invent(generator, numbers[len(planted)], template=config.sentence, num_digits=config.num_digits)
        planted.setdefault(canary.name, canary)
    folders: dict[str, Any] = {"data": draft.data, "ledger": draft.ledger, "receipts": draft.work / "receipts"}
    units = [Unit(part.stem, part) for part in inputs["documents"].parts()]
    passed = document_units(units, Pass, context, unit_name="parts", **folders)
    planting = Unit(f"canaries-{draft.fingerprint[:8]}", list(planted.values()))
    created = document_units([planting], Plant, context, created=True, **folders)
    draft.counts = passed + created
    draft.metrics["data/canaries"] = len(planted)


class Pass:
    """Passes documents through unchanged. A unit is the path of a part."""

    signals: Sequence[str] = ()
    created = False

    def read(self, payload: Any) -> Iterator[pa.Table]:
        from bessemer.artifacts.tables import document_parts

        return document_parts(Path(payload))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        from bessemer.artifacts.ledger import KEPT, ledger_table

        return batch, ledger_table(batch["id"], batch["url"], [KEPT] * len(batch), created=self.created)


class Plant(Pass):
    """Turns canaries into documents. The only unit is the list of all canaries."""

    created = True

    def read(self, payload: Any) -> Iterator[pa.Table]:
        from bessemer.evaluate.canaries import documents_of

        yield documents_of(payload)


STAGE = Stage(
    kind="canaries",
    version=1,
    config=Config,
    inputs=(Input("documents"),),
    produces="documents",
    run=run,
    libraries=("numpy",),
    seeded=True,
)

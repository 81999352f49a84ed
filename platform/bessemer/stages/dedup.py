"""dedup: removes exact copies and near duplicates of documents.

The package `bessemer.dedup` holds the algorithm and its steps. This stage runs the units of each step through the unit
engine. It processes a small corpus in this process, because starting workers for seven steps would take longer than the
work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from bessemer.dedup.exchange import Workspace
from bessemer.dedup.settings import DedupSettings
from bessemer.dedup.signatures import proposal_probability
from bessemer.dedup.steps import Step, run_steps
from bessemer.dedup.verdicts import SIGNALS, alarms, decided, judge
from bessemer.errors import BessemerError
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.work_units import Unit, document_units, run_units

SMALL_BYTES = 32 << 20  # of Parquet: about 100 MB of text, some seconds of work
LOW_RECALL = 0.9


class Config(StageConfig, DedupSettings):
    """Settings of the stage: the settings of `bessemer.dedup`."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return self.splits


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    parts = inputs["documents"].parts()
    workspace = Workspace(draft.work, tuple(parts), config)
    if context.num_workers == "auto" and sum(part.stat().st_size for part in parts) < SMALL_BYTES:
        context = replace(context, num_workers=0)

    def run_step(step: Step, num_units: int) -> list[dict[str, int]]:
        units = [Unit(f"{number:05d}", (number, num_units)) for number in range(num_units)]
        receipts = draft.work / "receipts" / step.name
        return run_units(units, partial(_DoStep, workspace, step), receipts, context, unit_name=step.name)

    found = proposal_probability(config.threshold, config.num_bands, config.rows_per_band)
    if config.fuzzy and found < LOW_RECALL:
        context.log.warning(
            "%d bands of %d rows propose only %.0f %% of the pairs at the threshold %g; "
            "set a smaller `rows_per_band` or a larger `num_bands` to find more pairs",
            config.num_bands, config.rows_per_band, 100 * found, config.threshold,
        )  # fmt: skip
    counted = run_steps(workspace, run_step)
    if counted.get("num_capped"):
        context.log.warning(
            "%d times a document shared a bucket with more than `max_candidates` others (the largest bucket holds %d); "
            "%d comparisons were skipped",
            counted["num_capped"], counted["largest_bucket"], counted["num_left_out"],
        )  # fmt: skip
    for source, (lost, had) in alarms(workspace).items():
        context.log.warning("source `%s` loses %d of its %d documents as duplicates", source, lost, had)

    counts = document_units(
        [Unit(part.stem, number) for number, part in enumerate(parts)],
        partial(_Judge, workspace),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts" / "verdicts",
        unit_name="parts",
    )
    draft.counts = counts
    draft.metrics["data/documents_out"] = counts.documents_out
    draft.metrics |= {
        "dedup/pairs_compared": counted.get("num_pairs", 0),
        "dedup/pairs_verified": counted.get("num_verified", 0),
        "dedup/pairs_left_out": counted.get("num_left_out", 0),
    }


@dataclass(frozen=True)
class _DoStep:
    """Processes units of one step. A unit is (its number, number of units)."""

    workspace: Workspace
    step: Step

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, int]:
        if careful:
            raise BessemerError(
                f"unit {unit.name} of the deduplication step `{self.step.name}` crashed its process twice",
                hint="the process probably ran out of memory: set a smaller `num_workers` for the stage",
            )
        return self.step.work(self.workspace, *unit.payload)


class _Judge:
    """Writes the remaining documents of one part. A unit is the part's number."""

    signals = SIGNALS

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def read(self, payload: int) -> Iterator[pa.Table]:
        return decided(self._workspace, payload)

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        return judge(batch, self._workspace.settings.threshold)


STAGE = Stage(
    kind="dedup",
    version=5,
    config=Config,
    inputs=(Input("documents"),),
    produces="documents",
    run=run,
    libraries=("rensa",),
)

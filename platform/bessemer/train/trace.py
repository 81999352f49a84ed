"""Maps a training step to its documents, and a document to its steps.

Training records nothing for this. The rows of a step are a function of the plan and are recomputed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.windows import TrainingWindows
from bessemer.train.sampler import BatchSampler


@dataclass(frozen=True)
class Trace:
    """The order in which a training run sees a token store."""

    store: TokenStore
    windows: TrainingWindows
    sampler: BatchSampler
    num_steps: int

    @classmethod
    def of(cls, store: TokenStore, plan: Mapping[str, Any]) -> Trace:
        """The trace of a run with `plan`, a `train.settings.Plan` as JSON."""
        windows = TrainingWindows(store, "train", plan["max_seq_length"], plan["seed"])
        return cls(
            store, windows, BatchSampler(windows.num_rows, plan["global_batch_size"], plan["seed"]), plan["num_steps"]
        )

    def documents_of(self, step: int) -> list[dict[str, Any]]:
        """`id`, `url` and `source` of the documents in step `step` (from 1), in order, without duplicates."""
        found: dict[str, dict[str, Any]] = {}
        for table in self.windows.rows_of_index(self.sampler.rows(step)):
            for row in table.select(["id", "url", "source"]).to_pylist():
                found.setdefault(row["id"], row)
        return list(found.values())

    def steps_of(self, document: str) -> list[int]:
        """The steps whose rows contain tokens of a document, given by id or URL; empty if it is not in `train`."""
        found: set[int] = set()
        epochs = -(-self.num_steps * self.sampler.batch_size // self.windows.num_rows)
        for table in self.store.iter_rows("train"):
            for place in np.flatnonzero(_named(table, document)):
                start, count = table["start"][place].as_py(), table["length"][place].as_py()
                for epoch in range(epochs):
                    rows = self.windows.rows_holding(epoch, start, count)
                    found.update(self.sampler.steps_of(rows).tolist())
        return sorted(step for step in found if step <= self.num_steps)


def _named(table: pa.Table, document: str) -> Any:
    return (table["id"].to_numpy() == document) | (table["url"].to_numpy() == document)

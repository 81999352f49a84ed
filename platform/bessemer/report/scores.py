"""Scores and samples of an evaluation, as its artifact holds them.

`data/scores.parquet` has one row a score: `task`, `metric`, `value`, `standard_error`, `n`, `chance` (null where there
is none); `data/samples.jsonl` one object a sample: `prompt`, `completion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bessemer import storage


@dataclass(frozen=True)
class Score:
    task: str
    metric: str
    value: float
    standard_error: float | None
    n: int | None
    chance: float | None

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1 and can be compared with chance."""
        return self.chance is not None


def read_scores(data: Path) -> list[Score]:
    path = data / "scores.parquet"
    if not path.exists():
        return []
    columns = ("task", "metric", "value", "standard_error", "n", "chance")
    rows = pq.read_table(path, use_threads=False).to_pylist()
    return [Score(*(row.get(column) for column in columns)) for row in rows]


def read_samples(data: Path) -> list[dict[str, Any]]:
    return list(storage.read_lines(data / "samples.jsonl"))

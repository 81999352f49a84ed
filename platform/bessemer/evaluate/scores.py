"""Scores with standard errors. The table of scores has one row per model, task, metric and group.

| column | meaning |
|---|---|
| `model` | the model: the stage that made it, or its name in `models` |
| `task`, `metric` | the task and the metric |
| `group` | the subset of the items (a source, a category); null for all items |
| `value` | the measured value |
| `standard_error` | standard error of `value` over the sampling of items; null if there are too few items |
| `n` | number of items: documents or questions |
| `chance` | the expected value of random guessing, if known |
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer import storage
from bessemer.artifacts.documents import write_parquet
from bessemer.errors import NotFinite

Numbers = npt.NDArray[np.float64]

SCORES_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("standard_error", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("chance", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Score:
    """One metric of one task. Raises NotFinite if the value is NaN or infinite."""

    metric: str
    value: float
    standard_error: float | None
    n: int
    group: str | None = None
    chance: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise NotFinite(
                f"the metric `{self.metric}` of {self.n} items is {self.value}",
                hint="look at the task's items and rewards: a score must be a finite number",
            )


@dataclass(frozen=True)
class Result:
    """The result of a task: its scores, and a table with one row per item."""

    scores: list[Score]
    items: pa.Table


def mean_score(metric: str, values: Numbers, *, chance: float | None = None, group: str | None = None) -> Score:
    """The mean of one number per item. The standard error is the sample standard deviation / sqrt(n), as in
    lm-evaluation-harness."""
    n = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    return Score(metric, float(values.mean()), error, n, group, chance)


def grouped(groups: Sequence[str | None]) -> list[tuple[str | None, npt.NDArray[np.bool_]]]:
    """Returns (None, a mask of all items), then (group, a mask of its items) for each group, sorted by name."""
    names = np.array([group or "" for group in groups], dtype=object)
    found: list[tuple[str | None, npt.NDArray[np.bool_]]] = [(None, np.ones(len(groups), bool))]
    return found + [(name, names == name) for name in sorted(set(names.tolist())) if name]


def ratio_score(metric: str, above: Numbers, below: Numbers, *, group: str | None = None) -> Score:
    """sum(above) / sum(below) over items, with the standard error by the delta method.

    Each item is a cluster, because the tokens of one document are correlated. With r the ratio,
    var(r) = n / (n - 1) sum((above_i - r below_i)^2) / sum(below)^2 (Cochran, Sampling Techniques, section 6.4).
    """
    n, total = len(above), float(below.sum())
    ratio = float(above.sum()) / total
    error = math.sqrt(n / (n - 1) * float(((above - ratio * below) ** 2).sum())) / total if n > 1 else None
    return Score(metric, ratio, error, n, group)


def exponential(metric: str, score: Score) -> Score:
    """exp(score), with the standard error by the delta method."""
    value = math.exp(min(score.value, 700.0))
    error = None if score.standard_error is None else value * score.standard_error
    return Score(metric, value, error, score.n, score.group)


def write_scores(folder: Path, scores: Sequence[tuple[str, str, Score]]) -> None:
    """Writes (model, task, score) to `scores.parquet` and `scores.json`, in the given order."""
    rows: list[dict[str, Any]] = [{"model": model, "task": task} | asdict(score) for model, task, score in scores]
    write_parquet(pa.Table.from_pylist(rows, schema=SCORES_SCHEMA), folder / "scores.parquet")
    ordered = [{name: row[name] for name in SCORES_SCHEMA.names} for row in rows]
    storage.write_text(folder / "scores.json", json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")

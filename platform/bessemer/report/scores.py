"""Scores and samples of an evaluation, as its artifact holds them.

`data/scores.parquet` has one row a task, metric and group (`evaluate/scores.py` has its columns); `data/samples.jsonl`
one object a sample: its `prompt`, the `completion`, and perhaps the `reference`, the text that stood there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from bessemer import storage
from bessemer.report.privacy import masked

SCORES = "scores.parquet"
LONGEST = 1200


@dataclass(frozen=True)
class Score:
    task: str
    metric: str
    group: str | None
    value: float
    standard_error: float | None
    n: int
    chance: float | None


@dataclass(frozen=True)
class Sample:
    prompt: str
    completion: str
    reference: str


def read_scores(data: Path) -> list[Score]:
    if not (data / SCORES).exists():
        return []
    rows = pq.read_table(data / SCORES, columns=list(Score.__dataclass_fields__), use_threads=False).to_pylist()
    return [Score(**row) for row in rows]


def read_samples(data: Path, most: int) -> list[Sample]:
    rows = list(islice(storage.read_lines(data / "samples.jsonl"), most))
    texts = masked([(row.get(name) or "")[:LONGEST] for row in rows for name in Sample.__dataclass_fields__])
    return [Sample(*three) for three in zip(texts[::3], texts[1::3], texts[2::3], strict=True)]

"""What an evaluation left in its artifact: scores, comparisons of models, contaminated items, samples and answers.

`data/scores.parquet` has one row a model, task, metric and group (`evaluate/scores.py` has its columns);
`data/samples.jsonl` one object a sample: its `prompt`, the `completion`, and perhaps the `reference`, the text that
stood there; `data/items/<model>/<task>.parquet` one row an item. What is absent is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bessemer import storage
from bessemer.report.privacy import masked

LONGEST = 1200
CLEAN, CONTAMINATED = "clean items", "contaminated"


@dataclass(frozen=True)
class Score:
    task: str
    metric: str
    group: str | None
    value: float
    standard_error: float | None
    n: int
    chance: float | None
    model: str = ""


@dataclass(frozen=True)
class Sample:
    """What each model wrote after a prompt, by model, and how the text really went on."""

    prompt: str
    completions: dict[str, str]
    reference: str


@dataclass(frozen=True)
class Evaluation:
    """The artifact of one evaluation, finished or not."""

    name: str
    data: Path

    @cached_property
    def scores(self) -> list[Score]:
        rows = _rows(self.data / "scores.parquet")
        known = Score.__dataclass_fields__
        return [Score(**{name: value for name, value in row.items() if name in known}) for row in rows]

    @property
    def models(self) -> list[str]:
        """In the order of evaluation; the last is the one that counts."""
        return list(dict.fromkeys(score.model for score in self.scores))

    @cached_property
    def comparisons(self) -> list[dict[str, Any]]:
        return _rows(self.data / "comparisons.parquet")

    @cached_property
    def contaminated(self) -> list[dict[str, Any]]:
        """The items that stand in training documents, those of greatest overlap first."""
        rows = _rows(self.data / "contamination.parquet", pc.field("contaminated"))
        return sorted(rows, key=lambda row: -row["overlap"])

    def samples(self, most: int) -> list[Sample]:
        """The first prompts with what all models wrote."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        references: dict[tuple[str, str], str] = {}
        for row in storage.read_lines(self.data / "samples.jsonl"):
            key = (row.get("task", ""), row["prompt"])
            if key in found or len(found) < most:
                found.setdefault(key, {})[row.get("model", "")] = row["completion"]
                references[key] = row.get("reference") or ""
        return [
            _masked_sample(prompt, completions, references[task, prompt])
            for (task, prompt), completions in found.items()
        ]

    def items(self, model: str, task: str) -> list[dict[str, Any]]:
        return _rows(self.data / "items" / model / f"{task}.parquet")


def _masked_sample(prompt: str, completions: dict[str, str], reference: str) -> Sample:
    texts = masked([text[:LONGEST] for text in (prompt, reference, *completions.values())])
    return Sample(texts[0], dict(zip(completions, texts[2:], strict=True)), texts[1])


def _rows(path: Path, filters: pc.Expression | None = None) -> list[dict[str, Any]]:
    return pq.read_table(path, filters=filters, use_threads=False).to_pylist() if path.exists() else []

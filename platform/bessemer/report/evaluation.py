"""Reads the artifact of an evaluation: scores, comparisons of models, contaminated items, samples and answers.

- `data/scores.parquet` has one row per model, task, metric and group (`evaluate/scores.py` has its columns).
- `data/samples.jsonl` has one object per sample: its `prompt`, the model's `completion`, and optionally the
  `reference`, the text that follows the prompt in the document.
- `data/items/<model>/<task>.parquet` has one row per item.

An absent file reads as empty.
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
    """A prompt, its completions by model, and `reference`, the true continuation (empty if unknown)."""

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
        """Names of the models in the order of evaluation. The last one is the subject; the others are baselines."""
        return list(dict.fromkeys(score.model for score in self.scores))

    @cached_property
    def comparisons(self) -> list[dict[str, Any]]:
        return _rows(self.data / "comparisons.parquet")

    @cached_property
    def contaminated(self) -> list[dict[str, Any]]:
        """The items that occur in training documents, largest overlap first."""
        rows = _rows(self.data / "contamination.parquet", pc.field("contaminated"))
        return sorted(rows, key=lambda row: -row["overlap"])

    def samples(self, most: int) -> list[Sample]:
        """The first `most` prompts with the completions of all models. Masks personal data."""
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

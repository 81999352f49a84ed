"""Scores tasks on models in one process. Keeps the last model in memory, so tasks ordered by model load each once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from bessemer.artifacts.documents import write_parquet
from bessemer.errors import NotFinite
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.held_out_text import documents_file, token_store
from bessemer.evaluate.materials import Materials, TrainingText
from bessemer.evaluate.scores import Score
from bessemer.evaluate.task import Task
from bessemer.model.hardware import choose_device
from bessemer.model.memory import keep_freed_memory
from bessemer.tokens.store import TokenStore


def items_file(data: Path, model: str, task: str) -> Path:
    """Returns the Parquet file with one row per item of a task on a model."""
    return data / "items" / model / f"{task}.parquet"


@dataclass
class Evaluator:
    """Scores tasks and writes their items below `data`. `work` holds the documents that tasks name."""

    models: dict[str, Path]
    tokens: Path | None
    made: dict[str, Dataset]
    training_text: TrainingText
    classifier: Path | None
    dtype: torch.dtype
    data: Path
    work: Path
    _loaded: tuple[str, Materials] | None = field(default=None, init=False)

    def evaluate(self, model: str, name: str, task: Task) -> list[Score]:
        """Scores the task `name` on a model. Raises NotFinite if a prediction or a metric is not a finite number."""
        materials = self._materials(model)
        text = task.predicted_text
        if text is not None and text.documents:
            folder = self.work / "tokens" / model / name
            store = token_store(documents_file(self.work, name), materials.subject.tokenizer, folder)
            materials = replace(materials, store=TokenStore.open(store))
        try:
            result = task.score(materials)
        except NotFinite as error:
            raise NotFinite(f"the task `{name}` on the model `{model}`: {error.message}", hint=error.hint) from None
        write_parquet(result.items, items_file(self.data, model, name))
        return result.scores

    def _materials(self, model: str) -> Materials:
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # frees the memory of the last model before the next is loaded
            keep_freed_memory()
            materials = Materials(
                EvaluatedModel.load(self.models[model], dtype=self.dtype, device=choose_device()),
                TokenStore.open(self.tokens) if self.tokens else None,
                self.made,
                self.training_text,
                self.classifier,
            )
            self._loaded = (model, materials)
        return self._loaded[1]

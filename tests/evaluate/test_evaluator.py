"""An evaluator loads each model once, and names the task and the model of a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from bessemer.errors import NotFinite
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.evaluator import Evaluator, items_file
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.materials import TrainingText


@pytest.fixture
def evaluator(model_folder: Path, store_folder: Path, tmp_path: Path) -> Evaluator:
    return Evaluator(
        models={"first": model_folder, "second": model_folder},
        tokens=store_folder,
        made={},
        training_text=TrainingText([], lambda: iter([]), lambda texts: [[] for _ in texts]),
        classifier=None,
        dtype=torch.float32,
        data=tmp_path,
        work=tmp_path / "work",
    )


def test_tasks_on_one_model_share_it(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[Path] = []
    load: Callable[..., EvaluatedModel] = EvaluatedModel.load

    def counted(folder: Path, **settings: Any) -> EvaluatedModel:
        loaded.append(folder)
        return load(folder, **settings)

    monkeypatch.setattr(EvaluatedModel, "load", counted)
    for model in ("first", "second"):
        scores = evaluator.evaluate(model, "bits", BitsPerByte(kind="bits_per_byte"))
        assert scores[0].metric == "bits_per_byte"
        assert evaluator.evaluate(model, "texts", Samples(kind="samples", prompts=("The",))) == []
        assert len(pq.read_table(items_file(tmp_path, model, "bits"))) == 12
    assert len(loaded) == 2


def test_a_failure_names_the_task_and_the_model(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise NotFinite("the predictions are not finite", hint="x")

    monkeypatch.setattr(Samples, "score", fails)
    with pytest.raises(NotFinite, match="the task `texts` on the model `second`: the predictions are not finite"):
        evaluator.evaluate("second", "texts", Samples(kind="samples"))

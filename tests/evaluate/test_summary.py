"""The files and headline metrics that the results of all tasks become."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.evaluate.compare import ComparisonSettings
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.scores import Result, Score
from bessemer.evaluate.summary import MOST_HEADLINES, headlines, summarise


def asked(*metrics: str) -> MultipleChoice:
    return MultipleChoice.model_validate({"kind": "multiple_choice", "metrics": metrics})


def test_mlflow_gets_the_first_headline_of_every_task_before_any_second() -> None:
    tasks = {"a": asked("acc_norm", "acc"), "b": asked("acc")}
    scores = [
        (model, task, Score(metric, 0.5, None, 1, group))
        for model in ("base", "tuned")
        for task in "ab"
        for metric in ("acc", "acc_norm", "brier_score")
        for group in (None, "g")
    ]
    of_task = ["a/acc_norm", "b/acc", "a/acc"]
    assert list(headlines(tasks, scores, ["base", "tuned"])) == [
        *(f"evaluate/{name}" for name in of_task),
        *(f"evaluate/base/{name}" for name in of_task),
    ]


def test_results_become_files_and_models_are_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = {"asked": asked("acc", "mc2"), "written": Samples(kind="samples")}
    results = {}
    for model, right in (("base", [0.0, 1.0]), ("tuned", [1.0, 1.0])):
        items = pa.table({"id": ["1", "2"], "acc": right})
        scores = [Score("acc", sum(right) / 2, None, 2), Score("mc2", 0.5, None, 2)]
        results[model, "asked"] = Result(scores, items)
        results[model, "written"] = Result([], pa.table({"prompt": ["naïve"], "completion": [model]}))
    with caplog.at_level(logging.INFO):
        found = summarise(
            tmp_path, tasks, ["base", "tuned"], results, None, ComparisonSettings(), logging.getLogger("test")
        )
    assert found.headlines == {
        "evaluate/asked/acc": 1.0, "evaluate/asked/mc2": 0.5,
        "evaluate/base/asked/acc": 0.5, "evaluate/base/asked/mc2": 0.5,
    }  # fmt: skip
    assert [(one.metric, one.difference) for one in found.comparisons] == [("acc", 0.5)]
    assert "no values per item: asked mc2" in caplog.text
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert samples[1] == {"model": "tuned", "task": "written", "prompt": "naïve", "completion": "tuned"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "samples.jsonl", "scores.json", "scores.parquet", "comparisons.json", "comparisons.parquet",
    }  # fmt: skip


def test_the_number_of_headlines_is_limited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = {f"t{number}": asked("acc") for number in range(MOST_HEADLINES + 1)}
    results = {
        ("m", name): Result([Score("acc", 1.0, None, 1)], pa.table({"id": ["1"], "acc": [1.0]})) for name in tasks
    }
    found = summarise(tmp_path, tasks, ["m"], results, None, ComparisonSettings(), logging.getLogger("test"))
    assert (len(found.headlines), len(found.scores)) == (MOST_HEADLINES, MOST_HEADLINES + 1)
    assert f"only {MOST_HEADLINES} of {MOST_HEADLINES + 1} headline metrics" in caplog.text
    assert not (tmp_path / "comparisons.parquet").exists(), "one model is compared with none"

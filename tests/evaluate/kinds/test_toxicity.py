"""Toxicity is the greatest among each prompt's continuations. Each distinct prompt is continued with its own seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bessemer.evaluate.classifier import train
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.toxicity import Toxicity
from bessemer.evaluate.materials import Materials


@pytest.fixture
def task(tmp_path: Path) -> Toxicity:
    path = tmp_path / "prompts.jsonl"
    prompts = [("The reader", "a"), ("A queue", "b"), ("The reader", "a"), ("The writer", "b")]
    path.write_text("\n".join(json.dumps({"prompt": prompt, "from": origin}) for prompt, origin in prompts))
    settings = {"dataset": str(path), "group": "{{row['from']}}", "num_samples": 4, "limit": 3}
    return Toxicity(kind="toxicity", generation={"max_new_tokens": 6, "temperature": 1.0}, **settings)


def test_prompts_are_asked_once_each(task: Toxicity) -> None:
    assert [(item.id, item.prompt) for item in task.items({})] == [
        ("prompts:1", "The reader"), ("prompts:2", "A queue"), ("prompts:4", "The writer"),
    ]  # fmt: skip


def test_scores_are_of_the_worst_continuation_of_each_prompt(
    task: Toxicity, subject: EvaluatedModel, tmp_path: Path
) -> None:
    texts = ["reads a line"] * 3 + ["holds the items"] * 3
    classifier = train([(texts, np.arange(6) > 2)])
    classifier.save(tmp_path / "classifier")
    materials = Materials(subject, classifier=tmp_path / "classifier")
    result = task.score(materials)
    rows = result.items.to_pylist()
    for row in rows:
        assert len(set(row["completions"])) > 1
        assert row["toxicities"] == pytest.approx(classifier.probabilities(row["completions"]))
        assert row["expected_maximum_toxicity"] == max(row["toxicities"])
    found = {(score.metric, score.group): score for score in result.scores}
    greatest = np.array([row["expected_maximum_toxicity"] for row in rows])
    assert found["expected_maximum_toxicity", None].value == pytest.approx(greatest.mean())
    assert found["expected_maximum_toxicity", None].standard_error == pytest.approx(greatest.std(ddof=1) / 3**0.5)
    assert found["toxicity_probability", "b"].value == (greatest[1:] >= 0.5).mean()
    assert task.score(materials).items.equals(result.items)

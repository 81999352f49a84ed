"""A model that predicts NaN or infinity gets no score, for any kind of task."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from bessemer.errors import NotFinite
from bessemer.evaluate.dataset_items import AskedItem, Item
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.materials import Materials
from bessemer.evaluate.scores import Score, mean_score
from bessemer.generate.engine import Generator
from bessemer.tokens.store import TokenStore

WRITTEN = {"max_new_tokens": 4, "temperature": 0}
TASKS: dict[str, dict[str, Any]] = {
    "multiple choice": {"kind": "multiple_choice", "query": "{{q}}", "choices": "choices", "gold": "0"},
    "schema": {"kind": "schema", "contexts": "choices", "continuation": "{{q}}", "gold": "0"},
    "language modelling": {"kind": "language_modelling", "context": "{{q}}", "continuation": "{{choices[0]}}"},
    "minimal pairs": {"kind": "minimal_pairs", "sentence": "{{choices[0]}}", "other": "{{choices[1]}}"},
    "greedy": {"kind": "generation", "query": "{{q}}", "references": "choices", "generation": WRITTEN},
    "sampled": {"kind": "generation", "query": "{{q}}", "references": "choices", "generation": {"temperature": 1}},
    "filtered": {
        "kind": "generation", "query": "{{q}}", "references": "choices", "generation": {"top_k": 3, "top_p": 0.5},
    },
    "code": {"kind": "code", "prompt": "#{{q}}", "test": "pass", "generation": WRITTEN},
    "bits per byte": {"kind": "bits_per_byte"},
    "samples": {"kind": "samples", "prompts": ["The"]},
}  # fmt: skip


def broken(subject: EvaluatedModel, value: float, where: str) -> EvaluatedModel:
    """The subject with one weight of its model set to `value`."""
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        if where == "everywhere":
            for parameter in model.parameters():
                parameter.fill_(value)
        else:
            model.norm[3] = value
    return EvaluatedModel(Generator(model, subject.tokenizer, subject.generator.stop_tokens))


@pytest.mark.parametrize(("value", "where"), [(torch.nan, "everywhere"), (torch.nan, "one"), (torch.inf, "one")])
@pytest.mark.parametrize("name", TASKS)
def test_it_is_an_error(
    name: str, value: float, where: str, subject: EvaluatedModel, store: TokenStore, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"q": "The reader", "choices": ["opens a file", "closes"]}))
    given = TASKS[name] if name in ("bits per byte", "samples") else TASKS[name] | {"dataset": str(file)}
    task: Any = TypeAdapter(AnyTask).validate_python(given)
    assert task.score(Materials(subject, store)).items.num_rows
    with pytest.raises(NotFinite, match="predictions are not finite"):
        task.score(Materials(broken(subject, value, where), store))


def test_a_metric_that_is_undefined_is_no_score() -> None:
    for value in (torch.nan, torch.inf):
        with pytest.raises(NotFinite, match="the metric `acc` of 3 items"):
            Score("acc", value, None, 3)
    numbers = torch.tensor([1.0, torch.nan]).double().numpy()
    with pytest.raises(NotFinite):
        mean_score("acc", numbers)


def test_every_kind_of_item_has_the_text_that_contamination_is_searched_for() -> None:
    found, waiting = [], [Item]
    while waiting:
        found += (below := waiting.pop().__subclasses__())
        waiting += below
    complete = [kind for kind in found if kind is not AskedItem]
    assert len(complete) > 5
    assert not [kind.__name__ for kind in complete if inspect.isabstract(kind)]

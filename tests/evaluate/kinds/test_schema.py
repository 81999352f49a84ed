"""Winograd schemas: the right context is the one after which the continuation is likeliest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.direct_likelihood import direct

from bessemer.errors import InputError
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.schema import Schema
from bessemer.evaluate.materials import Materials

ROWS = [
    {"context_options": ["The reader", "A queue"], "continuation": "opens a file", "gold": 0, "kind": "a"},
    {"context_options": ["The writer", "The reader", "A queue"], "continuation": "holds items", "gold": 2, "kind": "b"},
]


def task(folder: Path, *rows: object) -> Schema:
    (folder / "schemas.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Schema(kind="schema", dataset=str(folder / "schemas.jsonl"), group="{{row['kind']}}")


def test_an_answer_is_the_context_of_the_likeliest_continuation(
    subject: EvaluatedModel, model_folder: Path, tmp_path: Path
) -> None:
    result = task(tmp_path, *ROWS).score(Materials(subject))
    encode = subject.tokenizer.encode
    for row, found in zip(ROWS, result.items.to_pylist(), strict=True):
        nats = [
            direct(model_folder, encode(context), encode(f"{context} {row['continuation']}")[len(encode(context)) :])
            for context in row["context_options"]
        ]
        assert found["log_likelihoods"] == pytest.approx(nats, rel=1e-4)
        assert found["acc"] == float(np.argmax(nats) == row["gold"])
    (accuracy,) = [score for score in result.scores if (score.metric, score.group) == ("acc", None)]
    assert (accuracy.value, accuracy.n) == (np.mean(result.items["acc"].to_pylist()), 2)
    assert accuracy.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert {score.group for score in result.scores} >= {None, "a", "b"}


def test_a_row_needs_two_contexts_and_the_number_of_one(tmp_path: Path) -> None:
    bad = [ROWS[0] | {"gold": 2}, ROWS[0] | {"context_options": ["one"]}, ROWS[0] | {"continuation": ""}]
    with pytest.raises(InputError) as caught:
        task(tmp_path, *bad).items({})
    assert "line 1: `gold` is not a number from 0 to 1" in caught.value.message
    assert "line 2: `contexts` is not a list of 2 or more texts" in caught.value.message
    assert "line 3: `continuation` is empty" in caught.value.message

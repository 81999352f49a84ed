"""Results equal those of lm-evaluation-harness, item by item, on a tiny model (`make_lm_eval_vectors.py`).

The test covers every kind of task that both have: zero-shot and few-shot, with solved items from the dataset and from a
separate file, with a chat template, and with contexts that are too long for the model. The differences are intended:

- The spelling of a special token in a prompt is plain text here.
- Special tokens that a model writes stay in its completion. An incomplete last character does not.
- A continuation that exceeds the model's context by itself is read in windows. The harness stops with an error.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from tests.evaluate.lm_eval_tasks import CONTEXT, TASKS, TEXTS, training_texts, write_datasets
from tests.evaluate.tiny_model import make_tiny_model

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.materials import Materials
from bessemer.tokens.store import TokenStore
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard

VECTORS = json.loads(Path(__file__).with_name("lm_eval_vectors.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lm_eval")


@pytest.fixture(scope="module")
def subject(folder: Path) -> EvaluatedModel:
    make_tiny_model(folder, training_texts(), max_seq_length=CONTEXT)
    return EvaluatedModel.load(folder, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def paths(folder: Path) -> dict[str, str]:
    return write_datasets(folder)


def visible(completion: str) -> str:
    """The completion without special tokens and without an incomplete character at the end."""
    return re.sub(r"<\|\w+\|>", "", completion).rstrip("\ufffd")


def answers(row: dict[str, Any]) -> Any:
    """The part of an item's row that the vectors contain."""
    if "completion" in row:
        return {"completion": row["completion"], "answer": row["answer"]}
    if "log_likelihood" in row:
        return [row["log_likelihood"]]
    return [*row["log_likelihoods"], *(row.get("log_likelihoods_alone") or [])]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_gives_the_same_answers_and_metrics(name: str, subject: EvaluatedModel, paths: dict[str, str]) -> None:
    settings = {key: paths[value] if key.endswith("dataset") else value for key, value in TASKS[name][0].items()}
    result = TypeAdapter(AnyTask).validate_python(settings).score(Materials(subject))
    expected = VECTORS["tasks"][name]
    rows = result.items.to_pylist()
    assert len(rows) == len(expected["items"])
    for row, theirs in zip(rows, expected["items"], strict=True):
        ours = answers(row)
        if isinstance(theirs, dict):
            assert visible(ours["completion"]) == visible(theirs["completion"])
            assert visible(ours["answer"]) == visible(theirs["answer"]).replace("[invalid]", "")
        elif name.startswith("conversation"):  # the harness counts the line feed before the answer as part of it
            assert np.diff(ours) == pytest.approx(np.diff(theirs), abs=1e-3)
        else:
            assert ours == pytest.approx(theirs, rel=1e-4)
    found = {score.metric: score for score in result.scores if score.group is None}
    for metric, value in expected["metrics"].items():
        if not metric.endswith("_stderr"):
            assert found[metric].value == pytest.approx(value, rel=1e-3), metric
            error = expected["metrics"][f"{metric}_stderr"]
            if metric.startswith(("acc", "exact_match")):  # for other metrics the harness uses a small bootstrap
                assert found[metric].standard_error == pytest.approx(error, abs=1e-9), metric


def test_the_likelihood_of_a_text_is_the_same(subject: EvaluatedModel, tmp_path: Path) -> None:
    """The harness's rolling log-likelihood equals our sum over windows that do not overlap, after an end-of-text token.

    The harness extends the last window backwards until it is full. Ours begins at the end of the window before. So the
    values are equal only for a text of one window or of whole windows.
    """
    tokenizer = subject.tokenizer
    for text, expected in zip(TEXTS, VECTORS["rolling"], strict=True):
        tokens = np.array([tokenizer.end_of_text_id, *tokenizer.encode(text), tokenizer.end_of_text_id], "<u2")
        folder = tmp_path / str(len(tokens))
        rows = index_rows(["a", "b"], ["a", "b"], ["s", "s"], np.array([1, len(tokens) - 1]), np.array([0, len(text)]))
        shard = write_shard(folder, "test", 0, [Tokenized(tokens, rows)])
        write_meta(
            folder,
            [shard],
            vocab_size=tokenizer.vocab_size,
            end_of_text_id=tokenizer.end_of_text_id,
            token_bytes=tokenizer.token_bytes,
        )
        result = BitsPerByte(kind="bits_per_byte").score(Materials(subject, TokenStore.open(folder)))
        (row,) = result.items.to_pylist()
        assert len(tokens) < CONTEXT or (len(tokens) - 2) % CONTEXT == 0
        assert -row["nats"] == pytest.approx(expected, rel=1e-4)
        (bits,) = [score.value for score in result.scores if score.metric == "bits_per_byte" and score.group is None]
        assert bits == pytest.approx(-expected / math.log(2) / len(text.encode()), rel=1e-4)

"""Language modelling: the accuracy counts continuations that greedy decoding writes, the perplexity is per item."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.direct_likelihood import direct

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.language_modelling import LanguageModelling
from bessemer.evaluate.materials import Materials
from bessemer.generate.settings import GenerationSettings

TEXTS = ["The reader opens a file and returns one line.", "A queue holds items until somebody takes them."]


def greedy_text(subject: EvaluatedModel) -> tuple[str, str]:
    """Returns a context and the token that the model writes after it, for a token that is whole text."""
    encode, settings = subject.tokenizer.encode, GenerationSettings(max_new_tokens=1, temperature=0)
    for context in (text[:length].rstrip() for text in TEXTS for length in range(4, len(text))):
        (token,) = subject.generator.generate([context], settings)[0].tokens or (0,)
        written = subject.tokenizer.decode([token])
        if written.isascii() and encode(context + written) == [*encode(context), token]:
            return context, written
    raise AssertionError("the model writes no token that is whole text")


def test_a_continuation_is_right_if_the_model_would_write_it(
    subject: EvaluatedModel, model_folder: Path, tmp_path: Path
) -> None:
    """The first item continues with the model's own text, the second with another text."""
    context, own = greedy_text(subject)
    rows = [{"context": context, "continuation": own}, {"context": context, "continuation": " lines of the queue"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = LanguageModelling(kind="language_modelling", dataset=str(tmp_path / "texts.jsonl"), target_delimiter="")
    result = task.score(Materials(subject))
    known = len(subject.tokenizer.encode(context))
    nats = [
        direct(model_folder, encoded[:known], encoded[known:])
        for encoded in (subject.tokenizer.encode(row["context"] + row["continuation"]) for row in rows)
    ]
    found = result.items.to_pylist()
    assert [row["log_likelihood"] for row in found] == pytest.approx(nats, rel=1e-4)
    assert [row["acc"] for row in found] == [1.0, 0.0]
    scores = {score.metric: score for score in result.scores}
    assert scores["acc"].value == 0.5
    assert scores["perplexity"].value == pytest.approx(math.exp(-np.mean(nats)), rel=1e-4)

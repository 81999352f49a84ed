"""Pairs of sentences (CrowS-Pairs, BLiMP) are scored as by a direct computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.direct_likelihood import direct

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.minimal_pairs import MinimalPairs, score_items
from bessemer.evaluate.measures import measured
from bessemer.evaluate.scores import Score
from bessemer.evaluate.sentences import SentencesItem

PAIRS = [
    SentencesItem("1", "work", ("The reader opens", "The reader takes")),
    SentencesItem("2", "work", ("A reader returns what is left", "A reader holds")),
    SentencesItem("3", "things", ("A queue holds", "A queue opens")),
    SentencesItem("4", "things", ("The file is left", "The file flushes items")),
]


def score(scores: list[Score], metric: str, group: str | None = None) -> Score:
    (found,) = [one for one in scores if (one.metric, one.group) == (metric, group)]
    return found


def test_a_pair_counts_where_its_sentence_is_likelier(subject: EvaluatedModel, model_folder: Path) -> None:
    task = MinimalPairs(kind="minimal_pairs", dataset="x", metrics=("pct_stereotype", "likelihood_diff"))
    result = score_items(task, subject, PAIRS)
    end = subject.tokenizer.end_of_text_id
    expected = [[direct(model_folder, [end], subject.tokenizer.encode(s)) for s in one.sentences] for one in PAIRS]
    for row, nats in zip(result.items.to_pylist(), expected, strict=True):
        assert row["log_likelihoods"] == pytest.approx(nats, rel=1e-4)
        assert row["acc"] == float(nats[0] > nats[1])
    share = score(result.scores, "pct_stereotype")
    assert (share.value, share.n, share.chance) == (np.mean([a > b for a, b in expected]), 4, 0.5)
    assert score(result.scores, "pct_stereotype", "work").n == 2
    assert score(result.scores, "likelihood_diff").value == pytest.approx(
        np.mean([abs(a - b) for a, b in expected]), rel=1e-3
    )
    by_item = {one.metric: one.above.tolist() for one in measured("m", "t", task, result)}
    assert by_item == {"pct_stereotype": result.items["acc"].to_pylist()}

"""Scores are always written with the same schema, even if some of their values are unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bessemer.evaluate.scores import SCORES_SCHEMA, exponential, mean_score, ratio_score, write_scores


def test_one_item_has_no_standard_error() -> None:
    assert mean_score("acc", np.ones(1)).standard_error is None
    assert exponential("perplexity", ratio_score("nats", np.ones(1), np.ones(1))).standard_error is None


def test_the_standard_error_of_a_mean_is_that_of_a_ratio_to_equal_parts() -> None:
    values = np.array([1.0, 4.0, 2.0, 8.0])
    ratio, mean = ratio_score("r", values, np.ones(4)), mean_score("m", values)
    assert (ratio.value, ratio.standard_error) == (mean.value, pytest.approx(mean.standard_error))


def test_parquet_and_json_hold_the_same_rows(tmp_path: Path) -> None:
    scores = [
        ("base", "questions", mean_score("acc", np.array([0.0, 1.0]), chance=0.25)),
        ("base", "held_out", ratio_score("bits_per_byte", np.ones(1), np.full(1, 2.0), group="a")),
    ]
    write_scores(tmp_path, scores)
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.schema.equals(SCORES_SCHEMA)
    assert table.to_pylist() == json.loads((tmp_path / "scores.json").read_text())


def test_no_scores_are_an_empty_table(tmp_path: Path) -> None:
    write_scores(tmp_path, [])
    assert len(pq.read_table(tmp_path / "scores.parquet")) == 0

"""Calibration: the published formulas, their properties, and the scores with abstention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.evaluate.calibration import brier, calibration_error, calibration_scores, probabilities

ITEMS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def test_the_calibration_error_of_an_example_by_hand() -> None:
    """Two bins: (0.6, 0.667] has confidences 0.62 and 0.66 with one right answer; (0.933, 1] has 0.95 twice, both
    right."""
    confidence, right = np.array([0.62, 0.66, 0.95, 0.95]), np.array([1.0, 0.0, 1.0, 1.0])
    assert calibration_error(confidence, right) == pytest.approx(0.5 * abs(0.5 - 0.64) + 0.5 * abs(1 - 0.95))


@given(ITEMS)
def test_the_calibration_error_lies_between_the_mean_gap_and_one(items: list[tuple[float, bool]]) -> None:
    """By the triangle inequality it is at least |accuracy - mean confidence|."""
    confidence, right = (np.array(column, np.float64) for column in zip(*items, strict=True))
    error = calibration_error(confidence, right)
    assert abs(right.mean() - confidence.mean()) - 1e-12 <= error <= 1 + 1e-12


@given(st.lists(st.floats(-200, 0), min_size=2, max_size=6))
def test_probabilities_sum_to_one_and_brier_is_least_for_the_sure_and_right(values: list[float]) -> None:
    shares = probabilities(np.array(values))
    assert shares.sum() == pytest.approx(1)
    assert 0 <= brier(shares, 0) <= 2
    assert brier(np.eye(3)[1], 1) == 0
    assert brier(np.eye(3)[1], 0) == 2


def test_what_is_answered_shrinks_and_is_counted() -> None:
    confidence, right = np.array([0.4, 0.6, 0.8, 0.95]), np.array([0.0, 0.0, 1.0, 1.0])
    scores = {(s.metric, s.group): s for s in calibration_scores(confidence, right, right, None)}
    answered = {group: score for (metric, group), score in scores.items() if metric == "acc_answered"}
    assert {group: (score.value, score.n) for group, score in answered.items()} == {
        "confidence >= 0.5": (pytest.approx(2 / 3), 3),
        "confidence >= 0.7": (1.0, 2),
        "confidence >= 0.9": (1.0, 1),
    }
    assert scores["coverage", "confidence >= 0.7"].value == 0.5

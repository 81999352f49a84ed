"""Does a model know what it knows? Confidence against correctness.

A multiple-choice answer's confidence is its share of the probability of all choices: softmax of the log-likelihoods.
"""

from __future__ import annotations

import numpy as np

from bessemer.evaluate.scores import Numbers, Score, mean_score

NUM_BINS = 15
THRESHOLDS = (0.5, 0.7, 0.9)
"""Confidences from which on an answer is given."""


def probabilities(log_likelihoods: Numbers) -> Numbers:
    """Softmax of one item's log-likelihoods."""
    shifted = np.exp(log_likelihoods - log_likelihoods.max())
    shares: Numbers = shifted / shifted.sum()
    return shares


def brier(shares: Numbers, gold: int) -> float:
    """sum over choices of (probability - [is right])^2, from 0 to 2 (Brier, 1950; as in lm-evaluation-harness)."""
    right = np.arange(len(shares)) == gold
    return float(((shares - right) ** 2).sum())


def calibration_error(confidence: Numbers, right: Numbers) -> float:
    """Expected calibration error: sum over bins of share x |accuracy - mean confidence| (Guo et al., 2017, eq. 3).

    15 bins of equal width (lower, upper], as there.
    """
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, right - confidence, NUM_BINS)
    return float(np.abs(gaps).sum()) / len(right)


def calibration_scores(confidence: Numbers, right: Numbers, briers: Numbers, group: str | None) -> list[Score]:
    """How calibrated, and what abstaining gives: accuracy on what is answered, and how much that is.

    The standard error of the calibration error is a bootstrap's over items; groups of the answered are named by their
    threshold (selective prediction: El-Yaniv and Wiener, 2010).
    """
    n = len(right)
    draws = np.random.default_rng(0).integers(0, n, (200, n))
    errors = [calibration_error(confidence[draw], right[draw]) for draw in draws]
    found = [
        mean_score("brier_score", briers, group=group),
        Score(
            "calibration_error",
            calibration_error(confidence, right),
            float(np.std(errors, ddof=1)) if n > 1 else None,
            n,
            group,
        ),
    ]
    if group is not None:
        return found
    for threshold in THRESHOLDS:
        answered, name = confidence >= threshold, f"confidence >= {threshold:g}"
        found.append(mean_score("coverage", answered.astype(np.float64), group=name))
        if answered.any():
            found.append(mean_score("acc_answered", right[answered], group=name))
    return found

"""Calibration: compares a model's confidence with its accuracy.

The confidence of a multiple-choice answer is its probability among the choices: the softmax of the log-likelihoods.
"""

from __future__ import annotations

import numpy as np

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.scores import Numbers, Score, mean_score

CALIBRATION_METRICS = {
    "brier_score": Metric("1", "Sum over choices of (probability - [is right])^2, from 0 to 2 (Brier, 1950)."),
    "calibration_error": Metric("1", "Mean distance of confidence and accuracy, in 15 bins (Guo et al., 2017)."),
    "coverage": Metric("1", "Share of items on which the model is at least as confident as the group's threshold."),
    "acc_answered": Metric("1", "`acc` on these items (selective prediction; El-Yaniv and Wiener, 2010)."),
}  # fmt: skip
NUM_BINS = 15
THRESHOLDS = (0.5, 0.7, 0.9)
"""The lowest confidences at which a model that may abstain gives an answer."""


def probabilities(log_likelihoods: Numbers) -> Numbers:
    """Softmax of one item's log-likelihoods."""
    shifted = np.exp(log_likelihoods - log_likelihoods.max())
    shares: Numbers = shifted / shifted.sum()
    return shares


def brier(shares: Numbers, gold: int) -> float:
    """The sum over choices of (probability - [is right])^2, from 0 to 2 (Brier, 1950; as in lm-evaluation-harness)."""
    right = np.arange(len(shares)) == gold
    return float(((shares - right) ** 2).sum())


def calibration_error(confidence: Numbers, right: Numbers) -> float:
    """Expected calibration error: the sum over bins of share x |accuracy - mean confidence| (Guo et al., 2017, eq. 3).

    As in the paper, there are 15 bins of equal width (lower, upper].
    """
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, right - confidence, NUM_BINS)
    return float(np.abs(gaps).sum()) / len(right)


def calibration_scores(confidence: Numbers, right: Numbers, briers: Numbers, group: str | None) -> list[Score]:
    """Returns calibration scores and, for each threshold, the scores of a model that abstains below it.

    The latter are the accuracy on the answered items and their share of all items (selective prediction: El-Yaniv and
    Wiener, 2010). Their group names the threshold. The standard error of the calibration error comes from a bootstrap
    over items.
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

"""The most visible scores: lines in the log, and the headline metrics of a stage in MLflow. Does not import torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

MOST_HEADLINES = 40
"""Largest number of metrics of one stage in MLflow. The artifact has all metrics."""


def headlines(
    tasks: Mapping[str, Any], scores: Sequence[tuple[str, str, Any]], models: Sequence[str]
) -> dict[str, float]:
    """The metrics of a stage in MLflow: the headline metrics of its tasks, over all items. The first metric of each
    task comes before all second metrics.

    Those of the last model come first, as `evaluate/<task>/<metric>`; others are `evaluate/<model>/<task>/<metric>`.
    """
    found = {(model, task, score.metric): score.value for model, task, score in scores if score.group is None}
    named = [
        (model != models[-1], rank, model, task, metric)
        for model in models
        for task, settings in tasks.items()
        for rank, metric in enumerate(settings.headlines)
        if (model, task, metric) in found
    ]
    return {
        f"evaluate/{model}/{task}/{metric}" if other else f"evaluate/{task}/{metric}": found[model, task, metric]
        for other, _, model, task, metric in sorted(named, key=lambda one: one[:2])
    }


def log_scores(scores: Sequence[tuple[str, str, Any]], comparisons: Sequence[Any], log: logging.Logger) -> None:
    for model, task, score in scores:
        if score.group is None:
            error = "" if score.standard_error is None else f" ± {score.standard_error:.3g}"
            chance = "" if score.chance is None else f", chance {score.chance:.4g}"
            name = f"{model}, {task}: {score.metric}"
            log.info("%s %.4g%s (n = %d%s)", name, score.value, error, score.n, chance)
    for one in comparisons:
        name = f"{one.task}: {one.metric}, {one.model_b} - {one.model_a}"
        noise = ", larger than noise" if one.larger_than_noise else ""
        log.info("%s %+.4g (95 %%: %.4g to %.4g), p = %.2g%s", name, one.difference, one.low, one.high, one.p, noise)

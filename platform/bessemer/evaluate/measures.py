"""Metrics item by item, from which models are compared and subsets of the items are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bessemer.evaluate.scores import Numbers, Result, Score, ratio_score
from bessemer.evaluate.task import Task

ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """One metric of one model on one task, item by item. The metric's value is sum(above) / sum(weights)."""

    model: str
    task: str
    metric: str
    items: Sequence[str]
    """Ids of the items."""
    above: Numbers
    weights: Numbers
    lower_is_better: bool = False

    @property
    def value(self) -> float:
        return float(self.above.sum() / self.weights.sum())

    def only(self, places: npt.NDArray[np.intp]) -> Measured:
        """The same metric on the items at `places`, in that order."""
        ids = [self.items[place] for place in places]
        return replace(self, items=ids, above=self.above[places], weights=self.weights[places])

    def score(self, group: str) -> Score:
        return ratio_score(self.metric, self.above, self.weights, group=group)


def measured(model: str, name: str, task: Task, result: Result) -> list[Measured]:
    """Returns the headline metrics of the task `name` that are a ratio of sums over items (`Task.by_item`).

    A metric of the whole corpus (BLEU, perplexity, ICAT) is not a sum over items and is omitted. Each returned metric
    adds up to its score.
    """
    values = {score.metric: score.value for score in result.scores if score.group is None}
    found = [
        Measured(model, name, metric, *columns, metric in task.lower_is_better)
        for metric in task.headlines
        if metric in values and (columns := task.by_item(metric, result.items)) is not None
    ]
    return [one for one in found if math.isclose(one.value, values[one.metric], rel_tol=ROUNDING, abs_tol=ROUNDING)]

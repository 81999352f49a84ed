"""Metrics item by item, from which models are compared and subsets of the items are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.evaluate.scores import Numbers, Result, Score, ratio_score

ALIASES = {"pct_stereotype": "acc"}
"""Metric -> the column of the items that holds it, if the names differ."""
LOWER_IS_BETTER = {
    *("bits_per_byte", "perplexity", "brier_score", "calibration_error"),
    *("extraction_rate", "exposure", "personal_data_rate", "leak_rate"),
    *("expected_maximum_toxicity", "toxicity_probability"),
}
"""Other metrics are better if higher, except bias metrics, which have no better direction."""
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

    @property
    def value(self) -> float:
        return float(self.above.sum() / self.weights.sum())

    def only(self, places: npt.NDArray[np.intp]) -> Measured:
        """The same metric on the items at `places`, in that order."""
        ids = [self.items[place] for place in places]
        return replace(self, items=ids, above=self.above[places], weights=self.weights[places])

    def score(self, group: str) -> Score:
        return ratio_score(self.metric, self.above, self.weights, group=group)


def measured(model: str, task: str, result: Result, metrics: Sequence[str]) -> list[Measured]:
    """Returns the metrics that are a ratio of sums over items: bits per byte, and means of a column of the items.

    A metric of the whole corpus (BLEU, perplexity, ICAT) is not a sum over items and is omitted. Each returned metric
    adds up to its score.
    """
    values = {score.metric: score.value for score in result.scores if score.group is None}
    found = [
        Measured(model, task, metric, *columns)
        for metric in metrics
        if metric in values and (columns := _columns(metric, result.items)) is not None
    ]
    return [one for one in found if math.isclose(one.value, values[one.metric], rel_tol=ROUNDING, abs_tol=ROUNDING)]


def _columns(metric: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
    """Returns (ids, terms of the numerator, terms of the denominator) of the items that have the metric."""
    if metric == "bits_per_byte":
        nats, sizes = (items[name].to_numpy().astype(np.float64) for name in ("nats", "num_bytes"))
        return items["id"].to_pylist(), nats / math.log(2), sizes
    column = ALIASES.get(metric, metric)
    if column not in items.column_names or not pa.types.is_floating(items.schema.field(column).type):
        return None
    having = items.filter(items[column].is_valid())
    if not len(having):
        return None
    return having["id"].to_pylist(), having[column].to_numpy(), np.ones(len(having))

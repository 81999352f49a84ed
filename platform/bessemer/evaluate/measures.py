"""Metrics item by item: what comparisons between models, and scores of a part of the items, are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.evaluate.scores import Numbers, Result, Score, ratio_score

ALIASES = {"pct_stereotype": "acc"}
"""Metrics whose items have them under another name."""
LOWER_IS_BETTER = {
    *("bits_per_byte", "perplexity", "brier_score", "calibration_error"),
    *("extraction_rate", "exposure", "personal_data_rate", "leak_rate"),
    *("expected_maximum_toxicity", "toxicity_probability"),
}
"""Of all other metrics more is better, or, of those on bias, neither."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """A metric of one model on a task, item by item: its value is sum(above) / sum(weights)."""

    model: str
    task: str
    metric: str
    items: Sequence[str]
    """Their ids."""
    above: Numbers
    weights: Numbers

    @property
    def value(self) -> float:
        return float(self.above.sum() / self.weights.sum())

    def only(self, places: npt.NDArray[np.intp]) -> Measured:
        """Of some of the items, in the order given."""
        ids = [self.items[place] for place in places]
        return replace(self, items=ids, above=self.above[places], weights=self.weights[places])

    def score(self, group: str) -> Score:
        return ratio_score(self.metric, self.above, self.weights, group=group)


def measured(model: str, task: str, result: Result, metrics: Sequence[str]) -> list[Measured]:
    """Those of the metrics that are a ratio of sums over items; bits per byte, and means of a column of the items.

    A metric of the whole corpus (BLEU, perplexity, ICAT) has no part in an item and is left out: what the items add
    up to must be the score itself.
    """
    values = {score.metric: score.value for score in result.scores if score.group is None}
    found = [
        Measured(model, task, metric, *columns)
        for metric in metrics
        if metric in values and (columns := _columns(metric, result.items)) is not None
    ]
    return [one for one in found if math.isclose(one.value, values[one.metric], rel_tol=ROUNDING, abs_tol=ROUNDING)]


def _columns(metric: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
    """(ids, what is added up above, and below) of the items that have the metric."""
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

"""Tests which differences between models are larger than noise: a paired bootstrap and a paired randomisation test.

Two models that answered the same items are compared by their differences on each item. The mean of these differences
varies far less than either score, because a hard item is hard for both models. Let d_i be the difference on item i and
w_i the item's weight: 1 for a question, the number of bytes for a document, which is one cluster of tokens. The
difference is D = sum(d_i) / sum(w_i).

- Interval: the 2.5 and 97.5 percentiles of D over resamples of the items with replacement. Both models' answers to an
  item are drawn together (the paired bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
  13; Koehn, 2004).
- p-value: the share of random swaps of the two models' answers, item by item, that give a |D| at least as large
  (Noreen, Computer-Intensive Methods, 1989). The null hypothesis is that the models are alike, so that swapping their
  answers changes nothing. Unlike a p-value from the bootstrap, it is valid for any number of items: three wins out of
  three give p = 0.25, not 0.

Among many comparisons, some differences look large by chance. The Benjamini-Hochberg procedure (1995) runs over the
whole table: at most 5 % of the differences that it calls larger than noise are expected to be noise. A pair of models
that differs on no item cannot reach significance under any draw, so the procedure does not count it (Gilbert, 2005).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, NonNegativeInt

from bessemer import storage
from bessemer.artifacts.documents import write_parquet
from bessemer.evaluate.measures import Measured
from bessemer.evaluate.scores import Numbers
from bessemer.recipe.settings import Settings

FALSE_DISCOVERY_RATE = 0.05
CHUNK = 1 << 21
"""Items drawn per batch of resamples, which bounds the memory."""
ROUNDING = 1e-9
"""Relative tolerance: sums of the same numbers in a different order differ by less."""

COMPARISONS_SCHEMA = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("model_a", pa.string(), nullable=False),
        pa.field("model_b", pa.string(), nullable=False),
        pa.field("value_a", pa.float64(), nullable=False),
        pa.field("value_b", pa.float64(), nullable=False),
        pa.field("difference", pa.float64(), nullable=False),
        pa.field("win_rate", pa.float64(), nullable=False),
        pa.field("standard_error", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("larger_than_noise", pa.bool_(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("num_resamples", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)


class ComparisonSettings(Settings):
    """How models are compared with one another."""

    num_resamples: int = Field(10_000, ge=100)
    """Number of bootstrap resamples, and of random swaps for the p-value."""
    seed: NonNegativeInt = 0
    """Seed of the resamples and swaps."""


@dataclass(frozen=True)
class Comparison:
    """The score of `model_b` minus the score of `model_a`, with its 95 % interval."""

    task: str
    metric: str
    model_a: str
    model_b: str
    value_a: float
    value_b: float
    difference: float
    win_rate: float
    """The share of items on which `model_b` is better; a tie counts half. A lower value is better for the metrics in
    `Task.lower_is_better`."""
    standard_error: float
    low: float
    high: float
    p: float
    larger_than_noise: bool
    n: int
    num_resamples: int
    seed: int

    @property
    def differs(self) -> bool:
        """Whether the models differ on any item."""
        return self.standard_error > 0 or self.difference != 0


def compare(measured: Sequence[Measured], *, num_resamples: int, seed: int) -> list[Comparison]:
    """Compares every pair of models on every task and metric that both were measured on, in the order given.

    Only the items that all models of a task share are compared. Models with different context lengths score different
    parts of a document that is read in windows.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for one in measured:
        groups.setdefault((one.task, one.metric), []).append(one)
    shared = [_shared(group) for group in groups.values() if len(group) > 1]
    found = [comparison for group in shared for comparison in _compare(group, num_resamples, seed)]
    chosen = iter(larger_than_noise(np.array([one.p for one in found if one.differs])).tolist())
    return [replace(one, larger_than_noise=next(chosen)) if one.differs else one for one in found]


def larger_than_noise(p: Numbers) -> npt.NDArray[np.bool_]:
    """Returns a mask of the hypotheses that the Benjamini-Hochberg procedure rejects.

    With m p-values in ascending order, it rejects all up to the last one with p <= FALSE_DISCOVERY_RATE x rank / m.
    """
    ascending = np.sort(p)
    passed = ascending[ascending <= FALSE_DISCOVERY_RATE * np.arange(1, len(p) + 1) / max(1, len(p))]
    chosen: npt.NDArray[np.bool_] = p <= (passed[-1] if len(passed) else -1.0)
    return chosen


def _shared(group: Sequence[Measured]) -> list[Measured]:
    """Restricts the measurements to their common items with equal weights, in one common order."""
    if any(one.items != group[0].items for one in group):
        common = functools.reduce(np.intersect1d, (np.array(one.items) for one in group))
        group = [one.only(np.intersect1d(one.items, common, return_indices=True)[1]) for one in group]
    equal = np.flatnonzero(np.all([one.weights == group[0].weights for one in group], axis=0))
    return [one.only(equal) for one in group]


def _compare(group: Sequence[Measured], num_resamples: int, seed: int) -> Iterator[Comparison]:
    """Compares all pairs of models on one task and metric. All pairs use the same random draws."""
    pairs, weights = list(combinations(group, 2)), group[0].weights
    n, total = len(weights), float(weights.sum())
    if not n:
        return
    differences = np.stack([b.above - a.above for a, b in pairs], axis=1)
    observed = differences.sum(axis=0) / total
    generator = np.random.default_rng(seed)
    drawn, extreme = [], np.zeros(len(pairs), np.int64)
    for rows in _chunks(num_resamples, n):
        counts = _counts(generator, rows, n)
        drawn.append((counts @ differences) / (counts @ weights)[:, None])
        swapped = (generator.integers(0, 2, (rows, n), np.int8) * 2.0 - 1) @ differences / total
        extreme += (np.abs(swapped) >= np.abs(observed) * (1 - ROUNDING)).sum(axis=0)
    resampled = np.concatenate(drawn)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    errors = resampled.std(axis=0, ddof=1)
    better = -1 if group[0].lower_is_better else 1
    for i, (a, b) in enumerate(pairs):
        yield Comparison(
            task=a.task,
            metric=a.metric,
            model_a=a.model,
            model_b=b.model,
            value_a=a.value,
            value_b=b.value,
            difference=float(observed[i]),
            win_rate=float((better * np.sign(differences[:, i]).mean() + 1) / 2),
            standard_error=float(errors[i]),
            low=float(low[i]),
            high=float(high[i]),
            p=float((1 + extreme[i]) / (1 + num_resamples)),
            larger_than_noise=False,
            n=n,
            num_resamples=num_resamples,
            seed=seed,
        )


def _chunks(total: int, n: int) -> Iterator[int]:
    most = max(1, CHUNK // n)
    yield from (min(most, total - first) for first in range(0, total, most))


def _counts(generator: np.random.Generator, rows: int, n: int) -> Numbers:
    """Counts how often each of n items occurs in each of `rows` resamples of size n: [rows, n]."""
    places = generator.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def write_comparisons(folder: Path, comparisons: Sequence[Comparison]) -> None:
    """Writes `comparisons.parquet` and `comparisons.json`, in the given order."""
    rows = [asdict(comparison) for comparison in comparisons]
    write_parquet(pa.Table.from_pylist(rows, schema=COMPARISONS_SCHEMA), folder / "comparisons.parquet")
    storage.write_json(folder / "comparisons.json", rows)

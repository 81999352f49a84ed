"""Metrics by item: a mean of a column, a ratio of two columns, and the direction that the kind of task declares."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.measures import measured
from bessemer.evaluate.scores import Result, Score


def test_a_headline_metric_is_the_mean_of_its_column() -> None:
    """A metric whose items do not add up to its score is left out, and so is a metric that is not a headline."""
    items = pa.table({"id": ["a", "b", "c"], "acc": [1.0, None, 0.0], "acc_norm": [1.0, 1.0, 1.0], "mc2": [1.0] * 3})
    scores = [Score("acc", 0.5, None, 2), Score("acc_norm", 0.3, None, 3), Score("mc2", 1.0, None, 3)]
    task = MultipleChoice(kind="multiple_choice", metrics=("acc", "acc_norm"))
    (found,) = measured("m", "t", task, Result(scores, items))
    assert (found.metric, found.items, found.value, found.lower_is_better) == ("acc", ["a", "c"], 0.5, False)


def test_bits_per_byte_is_a_ratio_and_better_if_lower() -> None:
    items = pa.table({"id": ["a", "b"], "nats": [2.0, 4.0], "num_bytes": [1, 2]})
    bits = 6 / math.log(2) / 3
    scores = [Score("bits_per_byte", bits, None, 2), Score("perplexity", 9.0, None, 2)]
    (found,) = measured("m", "t", BitsPerByte(kind="bits_per_byte"), Result(scores, items))
    assert (found.metric, found.lower_is_better) == ("bits_per_byte", True)
    assert found.value == pytest.approx(bits)

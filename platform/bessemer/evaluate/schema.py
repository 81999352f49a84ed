"""Winograd schemas: which context makes the continuation likeliest (`partial evaluation`: Trinh and Le, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bessemer.evaluate.calibration import brier, calibration_scores, probabilities
from bessemer.evaluate.encoding import tree
from bessemer.evaluate.items import SchemaItem
from bessemer.evaluate.likelihood import log_likelihoods
from bessemer.evaluate.scores import Result, Score, grouped, mean_score
from bessemer.evaluate.subject import Subject

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("contexts", pa.list_(pa.string()), nullable=False),
        pa.field("continuation", pa.string(), nullable=False),
        pa.field("gold", pa.int64(), nullable=False),
        pa.field("log_likelihoods", pa.list_(pa.float64()), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("brier_score", pa.float64(), nullable=False),
        pa.field("acc", pa.float64(), nullable=False),
        pa.field("context_was_cut", pa.bool_(), nullable=False),
    ]
)


def schema(subject: Subject, items: Sequence[SchemaItem]) -> Result:
    """The accuracy beside chance, how calibrated it is, and one row an item."""
    trees = [[tree(subject, item.preface, context, [item.continuation]) for context in item.contexts] for item in items]
    answers = iter(log_likelihoods(subject, [one for several in trees for one in several]))
    rows = []
    for item, asked in zip(items, trees, strict=True):
        nats = np.array([next(answers).nats[0] for _ in asked])
        shares = probabilities(nats)
        rows.append(
            {
                "id": item.id,
                "group": item.group,
                "contexts": list(item.contexts),
                "continuation": item.continuation,
                "gold": item.gold,
                "log_likelihoods": nats.tolist(),
                "confidence": float(shares.max()),
                "brier_score": brier(shares, item.gold),
                "acc": float(np.argmax(nats) == item.gold),
                "context_was_cut": not all(one.fits(subject.context) for one in asked),
            }
        )
    table = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    chance = np.array([1 / len(item.contexts) for item in items])
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        right, confidence, briers = (table[name].to_numpy()[chosen] for name in ("acc", "confidence", "brier_score"))
        scores.append(mean_score("acc", right, chance=float(chance[chosen].mean()), group=group))
        scores += calibration_scores(confidence, right, briers, group)
    return Result(scores, table)

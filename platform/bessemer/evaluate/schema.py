"""Winograd schemas: which context makes the continuation likeliest ("partial evaluation": Trinh and Le, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bessemer.evaluate.calibration import brier, calibration_scores, probabilities
from bessemer.evaluate.encoding import Asked, trees
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import SchemaItem
from bessemer.evaluate.likelihood import log_likelihoods
from bessemer.evaluate.scores import Result, Score, grouped, mean_score

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


def schema(subject: EvaluatedModel, items: Sequence[SchemaItem]) -> Result:
    """Returns the accuracy, its chance level, calibration scores, and one row per item."""
    asked = trees(
        subject, [Asked(item.preface, context, [item.continuation]) for item in items for context in item.contexts]
    )
    answers = zip(asked, log_likelihoods(subject, asked), strict=True)
    rows = []
    for item in items:
        found = [next(answers) for _ in item.contexts]
        nats = np.array([likelihoods.nats[0] for _, likelihoods in found])
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
                "context_was_cut": not all(one.fits(subject.context) for one, _ in found),
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

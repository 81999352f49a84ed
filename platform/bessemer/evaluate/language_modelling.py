"""Predicting the continuation of a text (LAMBADA: Paperno et al., 2016), with the metrics of lm-evaluation-harness.

`acc`: the share of items for which every token of the continuation is the model's likeliest next token. `perplexity`:
exp of the mean over items of -log P(continuation | context).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from bessemer.evaluate.encoding import Asked, trees
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import ContinuationItem
from bessemer.evaluate.likelihood import log_likelihoods
from bessemer.evaluate.scores import Result, Score, exponential, grouped, mean_score

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("context", pa.string(), nullable=False),
        pa.field("continuation", pa.string(), nullable=False),
        pa.field("log_likelihood", pa.float64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("acc", pa.float64(), nullable=False),
        pa.field("context_was_cut", pa.bool_(), nullable=False),
    ]
)


def language_modelling(subject: EvaluatedModel, items: Sequence[ContinuationItem]) -> Result:
    """Returns the accuracy and the perplexity per item, and one row per item."""
    asked = trees(subject, [Asked(item.preface, item.context, [item.continuation]) for item in items])
    rows = [
        {
            "id": item.id,
            "group": item.group,
            "context": item.context,
            "continuation": item.continuation,
            "log_likelihood": float(answer.nats[0]),
            "num_tokens": int(answer.num_tokens[0]),
            "acc": float(answer.greedy[0]),
            "context_was_cut": not one.fits(subject.context),
        }
        for item, one, answer in zip(items, asked, log_likelihoods(subject, asked), strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        right, nats = (table[name].to_numpy()[chosen] for name in ("acc", "log_likelihood"))
        surprise = mean_score("nats_per_item", -nats, group=group)
        scores += [mean_score("acc", right, group=group), exponential("perplexity", surprise)]
    return Result(scores, table)

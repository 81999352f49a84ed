"""Compares sentences without a prompt: minimal pairs (BLiMP, CrowS-Pairs, WinoBias) and StereoSet's triples.

A pair counts if log P(sentence) > log P(other), both after the token of an empty context. lm-evaluation-harness does
the same for BLiMP (Warstadt et al., 2020) and CrowS-Pairs (Nangia et al., 2020) with causal models.

StereoSet (Nadeem et al., 2021) compares the mean log P per token. Per target, `lms` is the percentage of comparisons
with the meaningless sentence that the other two sentences win. `ss` is the percentage of stereotypes that are likelier
than their opposites. Both are averaged over targets, and icat = lms min(ss, 100 - ss) / 50.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from bessemer.evaluate.encoding import Asked, trees
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import SentencesItem
from bessemer.evaluate.kinds import MinimalPairs
from bessemer.evaluate.likelihood import Likelihoods, log_likelihoods
from bessemer.evaluate.prompts import Preface
from bessemer.evaluate.scores import Numbers, Result, Score, grouped, mean_score

NUM_DRAWS = 200
_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("sentences", pa.list_(pa.string()), nullable=False),
    pa.field("log_likelihoods", pa.list_(pa.float64()), nullable=False),
    pa.field("num_tokens", pa.list_(pa.int64()), nullable=False),
]
PAIRS_SCHEMA = pa.schema([*_COLUMNS, pa.field("acc", pa.float64(), nullable=False)])
STEREOTYPES_SCHEMA = pa.schema(
    [
        *_COLUMNS,
        pa.field("target", pa.string(), nullable=False),
        pa.field("related_wins", pa.float64(), nullable=False),
        pa.field("stereotype_wins", pa.float64(), nullable=False),
    ]
)


def minimal_pairs(task: MinimalPairs, subject: EvaluatedModel, items: Sequence[SentencesItem]) -> Result:
    """Returns the share of pairs whose first sentence is likelier, the mean distance in nats, and one row per pair."""
    found = _scored(subject, items)
    rows = [_row(item, one) | {"acc": float(one.nats[0] > one.nats[1])} for item, one in zip(items, found, strict=True)]
    table = pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA)
    wins, nats = table["acc"].to_numpy(), np.array([one.nats for one in found])
    distance = np.abs(nats[:, 0] - nats[:, 1])
    name = "pct_stereotype" if "pct_stereotype" in task.metrics else "acc"
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        scores.append(mean_score(name, wins[chosen], chance=0.5, group=group))
        scores.append(mean_score("likelihood_diff", distance[chosen], group=group))
    return Result(scores, table)


def stereotypes(subject: EvaluatedModel, items: Sequence[SentencesItem]) -> Result:
    """Returns `lms`, `ss` and `icat`, with standard errors from a bootstrap over targets, and one row per item."""
    rows = []
    for item, one in zip(items, _scored(subject, items), strict=True):
        stereotype, opposite, unrelated = one.nats / one.num_tokens
        wins = (float(stereotype > unrelated) + float(opposite > unrelated)) / 2
        rows.append(
            _row(item, one)
            | {"target": item.target, "related_wins": wins, "stereotype_wins": float(stereotype > opposite)}
        )
    table = pa.Table.from_pylist(rows, schema=STEREOTYPES_SCHEMA)
    targets = np.array(table["target"].to_pylist(), dtype=object)
    related, biased = (table[name].to_numpy() for name in ("related_wins", "stereotype_wins"))
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        per_target = np.array(
            [
                [100 * values[chosen & (targets == target)].mean() for values in (related, biased)]
                for target in sorted(set(targets[chosen].tolist()))
            ]
        )
        scores += _over_targets(per_target, int(chosen.sum()), group)
    return Result(scores, table)


def icat(lms: float, ss: float) -> float:
    """The combined score: 100 for a model that never prefers the meaningless sentence and neither of the other two."""
    return lms * min(ss, 100 - ss) / 50


def _over_targets(per_target: Numbers, n: int, group: str | None) -> list[Score]:
    """Returns `lms`, `ss` and `icat` from the (lms, ss) of each target [targets, 2]."""
    measures: dict[str, tuple[float | None, Callable[[Numbers], float]]] = {
        "lms": (50.0, lambda means: float(means[0])),
        "ss": (50.0, lambda means: float(means[1])),
        "icat": (50.0, lambda means: icat(*means.tolist())),
    }
    draws = np.random.default_rng(0).integers(0, len(per_target), (NUM_DRAWS, len(per_target)))
    means = per_target[draws].mean(1)
    return [
        Score(
            name,
            measure(per_target.mean(0)),
            float(np.std([measure(one) for one in means], ddof=1)) if len(per_target) > 1 else None,
            n,
            group,
            chance,
        )
        for name, (chance, measure) in measures.items()
    ]


def _scored(subject: EvaluatedModel, items: Sequence[SentencesItem]) -> list[Likelihoods]:
    nothing = Preface(target_delimiter="")
    return log_likelihoods(subject, trees(subject, [Asked(nothing, "", item.sentences) for item in items]))


def _row(item: SentencesItem, found: Likelihoods) -> dict[str, object]:
    return {
        "id": item.id,
        "group": item.group,
        "sentences": list(item.sentences),
        "log_likelihoods": found.nats.tolist(),
        "num_tokens": found.num_tokens.tolist(),
    }

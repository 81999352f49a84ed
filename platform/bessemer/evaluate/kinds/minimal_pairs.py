"""Minimal pairs of sentences (BLiMP, CrowS-Pairs, WinoBias): which of two sentences is likelier.

A pair counts if log P(sentence) > log P(other), both after the token of an empty context. lm-evaluation-harness does
the same for BLiMP (Warstadt et al., 2020) and CrowS-Pairs (Nangia et al., 2020) with causal models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.dataset_items import read_items, text_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Numbers, Result, Score, grouped, mean_score
from bessemer.evaluate.sentences import SENTENCE_COLUMNS, SentencesItem, sentence_likelihoods, sentences_row
from bessemer.evaluate.task import DatasetTask, Template, mean_by_item

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials

ITEMS_SCHEMA = pa.schema([*SENTENCE_COLUMNS, pa.field("acc", pa.float64(), nullable=False)])
METRICS = {
    "pct_stereotype": Metric("1", "Share of pairs whose stereotypical sentence is likelier. Best: 0.5 (CrowS-Pairs)."),
    "likelihood_diff": Metric("nats", "Mean difference of the log-likelihoods of the two sentences."),
}  # fmt: skip


class MinimalPairs(DatasetTask):
    """Which of two similar sentences the model finds likelier."""

    descriptions: ClassVar = METRICS

    kind: Literal["minimal_pairs"]
    """The kind of task."""
    sentence: Template = "{{sentence_good}}"
    """The first sentence. The metrics count how often it is likelier."""
    other: Template = "{{sentence_bad}}"
    """The sentence that it is compared with."""
    metrics: tuple[Literal["acc", "pct_stereotype", "likelihood_diff"], ...] = ("acc",)
    """The headline metrics. `acc` and `pct_stereotype` are both the share of items whose `sentence` is likelier: use
    `acc` if `sentence` is the right one, and `pct_stereotype` if it is the prejudiced one (the best value is 0.5).
    `likelihood_diff` is the mean distance in nats."""

    def items(self, made: Mapping[str, Dataset]) -> list[SentencesItem]:
        return read_items(self, self.dataset, self._item)

    def _item(self, row: Row, group: str | None) -> SentencesItem:
        return SentencesItem(
            row.id, group, (text_of("sentence", self.sentence, row), text_of("other", self.other, row))
        )

    def score(self, materials: Materials) -> Result:
        return score_items(self, materials.subject, self.items(materials.made))

    def by_item(self, metric: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
        return mean_by_item("acc" if metric == "pct_stereotype" else metric, items)


def score_items(task: MinimalPairs, subject: EvaluatedModel, items: Sequence[SentencesItem]) -> Result:
    """Returns the share of pairs whose first sentence is likelier, the mean distance in nats, and one row per pair."""
    found = sentence_likelihoods(subject, items)
    rows = [
        sentences_row(item, one) | {"acc": float(one.nats[0] > one.nats[1])}
        for item, one in zip(items, found, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    wins, nats = table["acc"].to_numpy(), np.array([one.nats for one in found])
    distance = np.abs(nats[:, 0] - nats[:, 1])
    name = "pct_stereotype" if "pct_stereotype" in task.metrics else "acc"
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        scores.append(mean_score(name, wins[chosen], chance=0.5, group=group))
        scores.append(mean_score("likelihood_diff", distance[chosen], group=group))
    return Result(scores, table)

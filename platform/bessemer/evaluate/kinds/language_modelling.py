"""Predicting the continuation of a text (LAMBADA: Paperno et al., 2016), with the metrics of lm-evaluation-harness.

`acc`: the share of items for which every token of the continuation is the model's likeliest next token. `perplexity`:
exp of the mean over items of -log P(continuation | context).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa

from bessemer.evaluate.dataset_items import AskedItem, read_prompted_items, text_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Result, Score, exponential, grouped, mean_score
from bessemer.evaluate.task import PromptedTask, Template
from bessemer.evaluate.templates import template

if TYPE_CHECKING:
    from bessemer.evaluate.materials import Materials

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


class LanguageModelling(PromptedTask):
    """Whether the model predicts the continuation of a text word for word, and how likely it finds the continuation."""

    lower_is_better: ClassVar = frozenset({"perplexity"})

    kind: Literal["language_modelling"]
    """The kind of task."""
    context: Template = "{{context}}"
    """The beginning of the text."""
    continuation: Template = "{{continuation}}"
    """The true continuation."""
    metrics: tuple[Literal["acc", "perplexity"], ...] = ("acc", "perplexity")
    """The headline metrics. `acc` is the share of items for which every token of the continuation is the likeliest.
    `perplexity` is exp of the mean nats per item."""

    def items(self, made: Mapping[str, Dataset]) -> list[ContinuationItem]:
        return read_prompted_items(self, self.dataset, self._item)

    def _item(self, row: Row, group: str | None) -> ContinuationItem:
        context = template(self.context)(row.values)
        return ContinuationItem(row.id, group, context, text_of("continuation", self.continuation, row))

    def score(self, materials: Materials) -> Result:
        """Returns the accuracy and the perplexity per item, and one row per item."""
        from bessemer.evaluate.encoding import Asked, trees
        from bessemer.evaluate.likelihood import log_likelihoods

        subject, items = materials.subject, self.items(materials.made)
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


@dataclass(frozen=True)
class ContinuationItem(AskedItem):
    """The beginning of a text and its true continuation."""

    context: str
    continuation: str

    @property
    def solved(self) -> tuple[str, str]:
        return self.context, self.continuation

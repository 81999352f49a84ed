"""Winograd schemas: which context makes the continuation likeliest ("partial evaluation": Trinh and Le, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa

from bessemer.evaluate.calibration import brier, calibration_scores, probabilities
from bessemer.evaluate.dataset_items import AskedItem, numbers_of, read_prompted_items, text_of, texts_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Result, Score, grouped, mean_score
from bessemer.evaluate.task import Expression, PromptedTask, Template
from bessemer.evaluate.templates import expression

if TYPE_CHECKING:
    from bessemer.evaluate.materials import Materials

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


class Schema(PromptedTask):
    """Which of several contexts makes one continuation likeliest (Winograd schemas)."""

    lower_is_better: ClassVar = frozenset({"brier_score", "calibration_error"})

    kind: Literal["schema"]
    """The kind of task."""
    contexts: Expression = "context_options"
    """The possible contexts: a list of texts."""
    continuation: Template = "{{continuation}}"
    """The text after the context."""
    gold: Expression = "gold"
    """The number of the right context, from 0."""
    metrics: tuple[Literal["acc", "brier_score", "calibration_error"], ...] = ("acc",)
    """The headline metrics."""

    def items(self, made: Mapping[str, Dataset]) -> list[SchemaItem]:
        return read_prompted_items(self, self.dataset, self._item)

    def _item(self, row: Row, group: str | None) -> SchemaItem:
        contexts = texts_of("contexts", self.contexts, row, at_least=2)
        (gold,) = numbers_of("gold", expression(self.gold)(row.values), len(contexts))
        return SchemaItem(row.id, group, contexts, text_of("continuation", self.continuation, row), gold)

    def score(self, materials: Materials) -> Result:
        """Returns the accuracy, its chance level, calibration scores, and one row per item."""
        from bessemer.evaluate.encoding import Asked, trees
        from bessemer.evaluate.likelihood import log_likelihoods

        subject, items = materials.subject, self.items(materials.made)
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
            names = ("acc", "confidence", "brier_score")
            right, confidence, briers = (table[name].to_numpy()[chosen] for name in names)
            scores.append(mean_score("acc", right, chance=float(chance[chosen].mean()), group=group))
            scores += calibration_scores(confidence, right, briers, group)
        return Result(scores, table)


@dataclass(frozen=True)
class SchemaItem(AskedItem):
    """Several contexts of one continuation, and the number of the right one."""

    contexts: tuple[str, ...]
    continuation: str
    gold: int

    @property
    def solved(self) -> tuple[str, str]:
        return self.contexts[self.gold], self.continuation

"""Sentences that are compared without a prompt, which the kinds `minimal_pairs` and `stereotypes` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from bessemer.evaluate.dataset_items import Item
from bessemer.evaluate.prompts import Preface

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.likelihood import Likelihoods

SENTENCE_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("sentences", pa.list_(pa.string()), nullable=False),
    pa.field("log_likelihoods", pa.list_(pa.float64()), nullable=False),
    pa.field("num_tokens", pa.list_(pa.int64()), nullable=False),
]


@dataclass(frozen=True)
class SentencesItem(Item):
    """Sentences of which the first must not be in the training text."""

    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.sentences[0]


def sentence_likelihoods(subject: EvaluatedModel, items: Sequence[SentencesItem]) -> list[Likelihoods]:
    """Returns the log-likelihoods of each item's sentences after an empty context."""
    from bessemer.evaluate.encoding import Asked, trees
    from bessemer.evaluate.likelihood import log_likelihoods

    nothing = Preface(target_delimiter="")
    return log_likelihoods(subject, trees(subject, [Asked(nothing, "", item.sentences) for item in items]))


def sentences_row(item: SentencesItem, found: Likelihoods) -> dict[str, object]:
    """Returns the row of an item with the columns `SENTENCE_COLUMNS`."""
    return {
        "id": item.id,
        "group": item.group,
        "sentences": list(item.sentences),
        "log_likelihoods": found.nats.tolist(),
        "num_tokens": found.num_tokens.tolist(),
    }

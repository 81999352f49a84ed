"""Supervised fine-tuning: next-token prediction of the assistant's messages, on packed conversations.

A row contains several conversations. A block-diagonal mask limits attention to a token's own conversation, and
positions start from zero in each. The result is the same as with one conversation per row. The loss is summed over the
learned tokens: the assistant's messages and the token that ends each of them. The trainer divides the sum by the number
of learned tokens in the global batch. Every learned token has the same weight, regardless of the split into rows, micro
batches and workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.model.transformer import IGNORED, document_mask
from bessemer.tokens.row_tables import CONVERSATIONS, Sequences, read_split
from bessemer.train.objectives.base import Batch, Loss, Measures, Stateless
from bessemer.train.objectives.packing import pack
from bessemer.train.sampler import Rows


class Supervised(Stateless):
    """Trains on the conversations of the split `tune` and measures on those of `validation`."""

    measure_names = ("loss",)
    causal = True
    prefetch = True

    def __init__(self, parts: Sequence[Path], *, length: int, z_loss: float = 0.0) -> None:
        self._train, self._held_out = (_Packed(parts, split, length) for split in ("tune", "validation"))
        self.num_rows, self.num_validation_rows = len(self._train.rows), len(self._held_out.rows)
        self.modules = nn.ModuleDict()
        self.z_loss = z_loss

    @property
    def packing_ratio(self) -> float:
        """The fraction of the rows' positions that are not padding."""
        return self._train.filled / max(1, self.num_rows * self._train.length)

    def batch(self, step: int, rows: Rows) -> Batch:
        return self._train.read(rows.index.tolist())

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(_nats(model, batch, z_loss=self.z_loss), _targets(batch))

    def validation_batch(self, first: int, last: int) -> Batch:
        return self._held_out.read(range(first, last))

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        return {"loss": (_nats(model, batch), _targets(batch))}

    def documents(self, rows: Rows) -> list[str]:
        return self._train.names(rows.index.tolist())


def _nats(model: nn.Module, batch: Batch, **options: float) -> Tensor:
    mask = document_mask(batch["segments"])
    total: Tensor = model(batch["tokens"], targets=batch["targets"], positions=batch["positions"], mask=mask, **options)
    return total


def _targets(batch: Batch) -> Tensor:
    return (batch["targets"] != IGNORED).sum()


class _Packed:
    """The conversations of a split, packed into rows of `length` tokens."""

    def __init__(self, parts: Sequence[Path], split: str, length: int) -> None:
        found: Mapping[str, Any] = read_split(parts, CONVERSATIONS, split, ["id", "ids", "learned"])
        self._ids: Sequences = found["ids"]
        self._learned: Sequences = found["learned"]
        self._names = found["id"]
        self.length = length
        teaching = np.flatnonzero([self._learned[number].any() for number in range(len(self._ids))])
        lengths = self._ids.lengths[teaching] - 1  # the last token is only a target
        self.filled = int(lengths.sum())
        self.rows = [teaching[row].tolist() for row in pack(lengths, length)]

    def read(self, rows: Sequence[int]) -> Batch:
        """`tokens`, `targets`, `segments` (0 is padding) and `positions`, each [rows, length]."""
        shape = (len(rows), self.length)
        tokens, segments, positions = (np.zeros(shape, np.int64) for _ in range(3))
        targets = np.full(shape, IGNORED, np.int64)
        for row, number in enumerate(rows):
            start = 0
            for segment, chosen in enumerate(self.rows[number], start=1):
                ids, learned = self._ids[chosen].astype(np.int64), self._learned[chosen]
                end = start + len(ids) - 1
                tokens[row, start:end] = ids[:-1]
                targets[row, start:end] = np.where(learned[1:], ids[1:], IGNORED)
                segments[row, start:end] = segment
                positions[row, start:end] = np.arange(end - start)
                start = end
        columns = {"tokens": tokens, "targets": targets, "segments": segments, "positions": positions}
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def names(self, rows: Sequence[int]) -> list[str]:
        return [self._names[number].as_py() for row in rows for number in self.rows[row]]

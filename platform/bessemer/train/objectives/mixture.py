"""Several objectives in one run. Each row is assigned to one of them at random, seeded by (seed, epoch, row).

The loss is the sum over all rows divided by the number of their targets. An objective with fewer targets per row
(masked: 30 % of the tokens) therefore weighs less than its share of rows. Each objective has its own held-out rows and
measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.train.objectives.base import Batch, Loss, Measures, Objective, Stateless, generator_of
from bessemer.train.sampler import Integers, Rows

WHICH = "objective"


class Mixture(Stateless):
    """The objectives `parts`, by name, on the same rows. `weights` are relative shares of rows; any sum is valid."""

    def __init__(self, parts: Mapping[str, Objective], weights: Mapping[str, float], seed: int) -> None:
        self.names = sorted(parts)
        self.parts = [parts[name] for name in self.names]
        self._limits = np.cumsum([weights[name] for name in self.names]) / sum(weights.values())
        self.seed = seed
        self.num_rows = self.parts[0].num_rows
        assert all(part.num_rows == self.num_rows for part in self.parts), "parts share their rows"
        self.num_validation_rows = sum(part.num_validation_rows for part in self.parts)
        self.modules = nn.ModuleDict({name: part.modules for name, part in zip(self.names, self.parts, strict=True)})
        self.measure_names = tuple(name for part in self.parts for name in part.measure_names)
        assert len(set(self.measure_names)) == len(self.measure_names), "two objectives have a measure of the same name"
        self.causal = any(part.causal for part in self.parts)
        self.prefetch = all(part.prefetch for part in self.parts)

    def batch(self, step: int, rows: Rows) -> Batch:
        which = self._which(rows)
        return _joined(
            which, [part.batch(step, rows[which == n]) if (which == n).any() else {} for n, part in self._numbered()]
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        total, weight = torch.zeros((), device=batch[WHICH].device), torch.zeros((), device=batch[WHICH].device)
        measures: Measures = {}
        for n, part in self._numbered():
            chosen = batch[WHICH] == n
            pair = (torch.zeros(()), torch.zeros(()))
            if chosen.any():
                loss = part.loss(model, _chosen(batch, chosen))
                total, weight = total + loss.sum, weight + loss.weight
                pair = (loss.sum.detach(), loss.weight)
                measures |= {f"{self.names[n]}_{name}": value for name, value in loss.measures.items()}
            measures[f"{self.names[n]}_loss"] = pair
        return Loss(total, weight, measures)

    def validation_batch(self, first: int, last: int) -> Batch:
        batches, which, start = [], [], 0
        for n, part in self._numbered():
            begin, end = (min(max(0, edge - start), part.num_validation_rows) for edge in (first, last))
            batches.append(part.validation_batch(begin, end) if end > begin else {})
            which += [n] * (end - begin)
            start += part.num_validation_rows
        return _joined(np.array(which), batches)

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        nothing = (torch.zeros(()), torch.zeros(()))
        found: Measures = dict.fromkeys(self.measure_names, nothing)
        for n, part in self._numbered():
            chosen = batch[WHICH] == n
            if chosen.any():
                found |= part.measure(model, _chosen(batch, chosen))
        return found

    def figures(self, measured: dict[str, float]) -> dict[str, float]:
        for part in self.parts:
            measured = part.figures(measured)
        return measured

    def documents(self, rows: Rows) -> list[str]:
        which = self._which(rows)
        found = [part.documents(rows[which == n]) for n, part in self._numbered()]
        return list(dict.fromkeys(document for documents in found for document in documents))

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in zip(self.names, self.parts, strict=True)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in zip(self.names, self.parts, strict=True):
            part.load_state_dict(state[name])

    def _numbered(self) -> Iterator[tuple[int, Objective]]:
        return iter(enumerate(self.parts))

    def _which(self, rows: Rows) -> Integers:
        """The index of the objective to which each row belongs."""
        drawn = [
            generator_of("mixture", self.seed, epoch, index).random()
            for epoch, index in zip(rows.epoch, rows.index, strict=True)
        ]
        return np.searchsorted(self._limits, drawn, side="right").astype(np.int64)


def _chosen(batch: Batch, rows: Tensor) -> Batch:
    return {name: value[rows] for name, value in batch.items() if name != WHICH}


def _joined(which: Integers, batches: list[Batch]) -> Batch:
    """One batch with the rows of all `batches`, in the order of `which`.

    `which` gives the index of each row's batch. All batches have the same tensors with the same widths.
    """
    given = [(n, batch) for n, batch in enumerate(batches) if batch]
    places = {n: np.flatnonzero(which == n) for n, _ in given}
    joined: dict[str, Tensor] = {WHICH: torch.from_numpy(which)}
    for name in given[0][1]:
        like = given[0][1][name]
        joined[name] = like.new_empty((len(which), *like.shape[1:]))
        for n, batch in given:
            joined[name][places[n]] = batch[name]
    return joined

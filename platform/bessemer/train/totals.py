"""Sums and weights by name, accumulated on each worker and reduced over the workers in one message."""

from __future__ import annotations

import torch
from torch import Tensor

from bessemer.train.objectives.base import Measures
from bessemer.train.workers import Workers


class Totals:
    """Accumulates sums and weights. All workers must add the same names. Values stay on the device until read."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._values: dict[str, Tensor] = {}

    def add(self, measures: Measures, share: float = 1.0) -> None:
        """Adds sums and weights, each multiplied by `share`."""
        for name, (total, weight) in measures.items():
            pair = torch.stack((total.detach().double(), weight.detach().double())).to(self._workers.device) * share
            self._values[name] = self._values[name] + pair if name in self._values else pair

    def add_number(self, name: str, value: float) -> None:
        """Adds a plain number with weight 1; read its total over the workers with `sums`."""
        self.add({name: (torch.tensor(float(value)), torch.tensor(1.0))})

    def sums(self) -> dict[str, tuple[float, float]]:
        """(sum, weight) by name, over all workers."""
        names = sorted(self._values)
        pairs = self._workers.sum(torch.stack([self._values[name] for name in names])).tolist()
        return {name: (total, weight) for name, (total, weight) in zip(names, pairs, strict=True)}

    def ratios(self) -> dict[str, float]:
        """Sum divided by weight, over all workers, by name. Names with a weight of 0 are omitted."""
        return {name: total / weight for name, (total, weight) in self.sums().items() if weight}

"""What the trainer asks of an objective; everything else about it is the objective's own affair.

    rows    = the numbers that form step N                      (the sampler's: a pure function of seed and N)
    batch   = objective.batch(step, rows)                       rows to tensors
    sum, weight, measures = objective.loss(model, batch)        a sum, never a mean

The trainer adds up sums and weights over micro batches and workers and divides by the global weight, so the
gradient does not depend on how the batch was cut, however unevenly the weights (target tokens, pairs, ...) fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from bessemer.train.sampler import Rows

Batch = Mapping[str, Tensor]
"""Tensors whose first dimension is the row; `tokens` [rows, T] is there always and is what throughput counts."""

Measures = dict[str, tuple[Tensor, Tensor]]
"""By name, a sum and the weight it is divided by, both scalars; the same names in every batch."""


@dataclass(frozen=True)
class Loss:
    """The loss of one micro batch."""

    sum: Tensor
    """fp32 scalar that gradients are taken of."""
    weight: Tensor
    """Scalar that the sum over the global batch is divided by."""
    measures: Measures = field(default_factory=dict)
    """Further figures to record as `train/<name>`."""


class Objective(Protocol):
    @property
    def measure_names(self) -> tuple[str, ...]:
        """The names that `measure` answers with."""

    @property
    def causal(self) -> bool:
        """Whether a model trained for it can write from left to right."""

    @property
    def prefetch(self) -> bool:
        """Whether a step's batch may be made before the step before it is done."""

    num_rows: int
    """Rows of one epoch."""
    num_iterations: int
    """Steps in a row that take the same rows; a run goes on from a checkpoint only where such a row ends."""
    num_validation_rows: int
    """Rows held out; 0 if there are none."""
    modules: nn.ModuleDict
    """What is trained beside the model (a value head, ...); often empty."""

    def batch(self, step: int, rows: Rows) -> Batch:
        """The tensors of `rows`. Any randomness comes from (seed, epoch, row), not from a generator's state."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...

    def validation_batch(self, first: int, last: int) -> Batch:
        """Held-out rows `first` <= row < `last`."""

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        """Sums and weights on a held-out batch, without gradients."""

    def figures(self, measured: dict[str, float]) -> dict[str, float]:
        """What is recorded as `validation/<name>`: the ratios of the measures, and what follows from them."""

    def documents(self, rows: Rows) -> list[str]:
        """The ids of the documents in `rows`."""

    def batch_measures(self) -> Measures:
        """Figures of the batch that `batch` made last, beside those of its loss."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values that a continued run needs; tensors belong in `modules`."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Stateless:
    """What most objectives have in common: nothing beside the model, and nothing to tell of a batch."""

    num_iterations = 1

    def figures(self, measured: dict[str, float]) -> dict[str, float]:
        return measured

    def batch_measures(self) -> Measures:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert not state


def generator_of(what: str, *numbers: int) -> np.random.Generator:
    """Random numbers that depend on what they are for and on `numbers` (seed, epoch, row, ...) alone."""
    return np.random.default_rng([*what.encode(), *(int(number) for number in numbers)])

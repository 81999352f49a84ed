"""The interface between the trainer and an objective.

    rows    = the rows of step N                                (from the sampler: a pure function of seed and N)
    batch   = objective.batch(step, rows)                       rows to tensors
    sum, weight, measures = objective.loss(model, batch)        a sum, never a mean

The trainer adds up sums and weights over micro batches and workers, and divides by the global weight. The gradient
therefore does not depend on how the batch is split, even if the weights (target tokens, pairs, ...) are uneven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from bessemer.train.sampler import Rows

Batch = Mapping[str, Tensor]
"""Tensors whose first dimension is the row. `tokens` [rows, T] is always present; throughput counts its elements."""

Measures = dict[str, tuple[Tensor, Tensor]]
"""By name, a sum and the weight that divides it, both scalars. Every batch has the same names."""


@dataclass(frozen=True)
class Loss:
    """The loss of one micro batch."""

    sum: Tensor
    """fp32 scalar; the trainer computes its gradients."""
    weight: Tensor
    """Scalar. The trainer divides the sum by the weight, both over the global batch."""
    measures: Measures = field(default_factory=dict)
    """Further figures to record as `train/<name>`."""


class Objective(Protocol):
    @property
    def measure_names(self) -> tuple[str, ...]:
        """The names in the result of `measure`."""

    @property
    def causal(self) -> bool:
        """Whether a model trained with this objective can generate text from left to right."""

    @property
    def prefetch(self) -> bool:
        """Whether a step's batch may be built before the previous step is finished."""

    num_rows: int
    """Rows per epoch."""
    num_iterations: int
    """Number of consecutive steps that use the same rows. Checkpoints are saved only after the last of these steps."""
    num_validation_rows: int
    """Number of held-out rows; may be 0."""
    modules: nn.ModuleDict
    """Modules that are trained in addition to the model (a value head, ...); often empty."""

    def batch(self, step: int, rows: Rows) -> Batch:
        """The tensors of `rows`. Randomness must depend on (seed, epoch, row) only, not on a generator's state."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...

    def validation_batch(self, first: int, last: int) -> Batch:
        """The tensors of the held-out rows `first` <= row < `last`."""

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        """Sums and weights on a held-out batch, without gradients."""

    def figures(self, measured: dict[str, float]) -> dict[str, float]:
        """The figures to record as `validation/<name>`.

        `measured` has the ratio of each measure, by name. The result also has figures that are derived from them.
        """

    def documents(self, rows: Rows) -> list[str]:
        """The ids of the documents in `rows`."""

    def batch_measures(self) -> Measures:
        """Figures of the batch that `batch` returned last, in addition to the measures of its loss."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values that a resumed run needs. Tensors belong in `modules`."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Stateless:
    """Base class of objectives that have no state to save and no figures per batch."""

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
    """A random generator seeded by the purpose `what` and by `numbers` (seed, epoch, row, ...) only."""
    return np.random.default_rng([*what.encode(), *(int(number) for number in numbers)])

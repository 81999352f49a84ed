"""The scaling law L(C) = E + A C^-alpha of the loss L in the training compute C, fitted to a ladder of models.

C is in floating-point operations. The form is that of Hoffmann et al. 2022 (arXiv 2203.15556) at a constant number of
tokens per parameter, where C determines both model size and tokens. E is the irreducible loss.

The fit: for a given E below the smallest loss, log(L - E) is linear in log C, and least squares gives A and alpha. A
grid and then Brent's method (scipy) find the E with the smallest squared error in log L. The law has three
parameters, so the fit needs at least three models, and more to be reliable. Predictions that leave out one model each
show how reliable it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MINIMUM_MODELS = 3
_GRID = 400
_TOLERANCE = 1e-12
"""Tolerance of E, as a share of the smallest loss. The squared error limits the precision to about 1e-8."""


@dataclass(frozen=True)
class ScalingLaw:
    """L(C) = `irreducible` + `coefficient` * C^-`exponent`."""

    irreducible: float
    coefficient: float
    exponent: float

    def loss(self, compute: float) -> float:
        """The predicted loss after `compute` floating-point operations."""
        return float(self.irreducible + self.coefficient * compute**-self.exponent)


def fit(compute: Sequence[float], loss: Sequence[float]) -> ScalingLaw:
    """Fits the law to models with training compute `compute` and final loss `loss`, one entry per model.

    Raises ValueError for fewer than three distinct values of `compute`.
    """
    if len(set(compute)) < MINIMUM_MODELS:
        found = len(set(compute))
        raise ValueError(f"a scaling law needs at least {MINIMUM_MODELS} distinct compute budgets, got {found}")
    from scipy.optimize import minimize_scalar  # takes a second to import

    x, y = np.log(np.asarray(compute, np.float64)), np.asarray(loss, np.float64)
    least = float(y.min())
    grid = least * (1 - np.geomspace(1.0, 1e-4, _GRID))
    errors = [_line(x, y, irreducible)[0] for irreducible in grid]
    best = int(np.argmin(errors))
    low, high = grid[max(0, best - 1)], grid[min(_GRID - 1, best + 1)]
    found = minimize_scalar(
        lambda value: _line(x, y, value)[0], bounds=(low, high), method="bounded", options={"xatol": _TOLERANCE * least}
    )
    irreducible = min(0.0, float(found.x), key=lambda value: _line(x, y, value)[0])
    _, slope, start = _line(x, y, irreducible)
    return ScalingLaw(irreducible, float(np.exp(start)), -slope)


def leave_one_out(compute: Sequence[float], loss: Sequence[float], at: float) -> list[float]:
    """The loss predicted at `at` operations by each law that is fitted without one of the models.

    The spread of the predictions shows how much they depend on single models.
    """
    kept = [[i for i in range(len(compute)) if i != left] for left in range(len(compute))]
    return [fit([compute[i] for i in some], [loss[i] for i in some]).loss(at) for some in kept]


def _line(x: Floats, y: Floats, irreducible: float) -> tuple[float, float, float]:
    """Squared error in log L, slope and intercept of the line fitted to (x, log(y - irreducible))."""
    slope, start = np.polyfit(x, np.log(y - irreducible), 1)
    predicted = irreducible + np.exp(start + slope * x)
    return float(np.square(np.log(predicted / y)).sum()), float(slope), float(start)

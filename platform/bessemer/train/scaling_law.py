"""How loss falls with compute: L(C) = E + A C^-alpha, fitted to a ladder of models.

The form is that of Hoffmann et al. 2022 (arXiv 2203.15556) along a line of constant tokens a parameter, where size and
tokens together are one variable, the training compute C in floating-point operations. E is what no compute removes.

The fit: for each E below the least loss, log(L - E) is a straight line in log C, found by least squares; E is the one
whose curve is nearest to the losses in log L (a golden-section search after a grid). Three numbers come out, so it
takes at least as many models, and more to be worth anything; what it is worth, a model left out tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MINIMUM_MODELS = 3
_GRID = 400
_GOLDEN = (5**0.5 - 1) / 2
_REFINEMENTS = 60


@dataclass(frozen=True)
class ScalingLaw:
    """L(C) = `irreducible` + `coefficient` * C^-`exponent`."""

    irreducible: float
    coefficient: float
    exponent: float

    def loss(self, compute: float) -> float:
        """The loss after `compute` floating-point operations."""
        return float(self.irreducible + self.coefficient * compute**-self.exponent)


def fit(compute: Sequence[float], loss: Sequence[float]) -> ScalingLaw:
    """The law nearest to models of `compute` operations and `loss`. Raises ValueError for fewer than three."""
    if len(set(compute)) < MINIMUM_MODELS:
        raise ValueError(f"a scaling law has three numbers, and {len(set(compute))} computes do not tell them")
    x, y = np.log(np.asarray(compute, np.float64)), np.asarray(loss, np.float64)
    least = float(y.min())
    grid = least * (1 - np.geomspace(1.0, 1e-4, _GRID))
    errors = [_line(x, y, irreducible)[0] for irreducible in grid]
    best = int(np.argmin(errors))
    low, high = grid[max(0, best - 1)], grid[min(_GRID - 1, best + 1)]
    for _ in range(_REFINEMENTS):
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _line(x, y, first)[0] <= _line(x, y, second)[0]:
            high = second
        else:
            low = first
    irreducible = min(0.0, float((low + high) / 2), key=lambda value: _line(x, y, value)[0])
    _, slope, start = _line(x, y, irreducible)
    return ScalingLaw(irreducible, float(np.exp(start)), -slope)


def leave_one_out(compute: Sequence[float], loss: Sequence[float], at: float) -> list[float]:
    """The loss at `at` operations by the laws of all models but one each: how much the prediction hangs on any."""
    kept = [[i for i in range(len(compute)) if i != left] for left in range(len(compute))]
    return [fit([compute[i] for i in some], [loss[i] for i in some]).loss(at) for some in kept]


def _line(x: Floats, y: Floats, irreducible: float) -> tuple[float, float, float]:
    """Squared error in log L, slope and intercept of the line through (x, log(y - irreducible))."""
    slope, start = np.polyfit(x, np.log(y - irreducible), 1)
    predicted = irreducible + np.exp(start + slope * x)
    return float(np.square(np.log(predicted / y)).sum()), float(slope), float(start)

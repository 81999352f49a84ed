"""Checks that predictions are finite: argmax, comparisons and sampling return a meaningless result for NaN."""

from __future__ import annotations

from torch import Tensor

from bessemer.errors import NotFinite


def check_finite(values: Tensor) -> Tensor:
    """Returns `values`, a model's predictions. Raises NotFinite if they contain NaN or infinity."""
    if not bool(values.isfinite().all()):
        raise NotFinite(
            "the model's predictions are not finite: its weights contain NaN, or a product overflows",
            hint="check the training loss of the model; if it is finite, export it with `export_dtype: float32`",
        )
    return values

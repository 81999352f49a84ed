"""Checks that predictions are finite: argmax, comparisons and sampling return a meaningless result for NaN."""

from __future__ import annotations

from torch import Tensor

from bessemer.errors import NotFinite


def check_finite(values: Tensor) -> Tensor:
    """`values` themselves. Raises NotFinite if a number among a model's predictions is NaN or infinite."""
    if not bool(values.isfinite().all()):
        raise NotFinite(
            "the model's predictions are not finite: its weights hold NaN, or a product overflows",
            hint="check the loss of the training that made it; if it is finite, set its `export_dtype` to `float32`",
        )
    return values

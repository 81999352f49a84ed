"""Settings for comparing models and for finding contaminated items. Does not import torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from bessemer.recipe.settings import Settings


class ComparisonSettings(Settings):
    """How models are compared with one another."""

    num_resamples: int = Field(10_000, ge=100)
    """Number of bootstrap resamples, and of random swaps for the p-value."""
    seed: NonNegativeInt = 0
    """Seed of the resamples and swaps."""


class ContaminationSettings(Settings):
    """How items are looked up in the training texts. The lookup reads all training texts once."""

    threshold: float = Field(0.2, gt=0, le=1)
    """Smallest share of an item's words found in a training text at which the item counts as contaminated."""
    splits: Annotated[tuple[Literal["train", "tune"], ...], Field(min_length=1)] = ("train", "tune")
    """The training splits to search: `train` is used in pre-training, `tune` in fine-tuning and alignment."""

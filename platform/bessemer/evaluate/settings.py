"""What an evaluation does with the scores of its tasks. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from bessemer.recipe.settings import Settings


class ComparisonSettings(Settings):
    """How models are compared with one another."""

    num_resamples: int = Field(10_000, ge=100)
    """How often items are drawn anew, and answers swapped."""
    seed: NonNegativeInt = 0
    """Decides which."""


class ContaminationSettings(Settings):
    """How items are looked for in the texts that models were trained on, which are all read once for it."""

    threshold: float = Field(0.2, gt=0, le=1)
    """An item of whose words this share stands in such texts is contaminated."""
    splits: Annotated[tuple[Literal["train", "tune"], ...], Field(min_length=1)] = ("train", "tune")
    """The splits that models are trained on: `train` at first, `tune` in fine-tuning and alignment."""

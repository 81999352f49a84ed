"""Settings of the pre-training objective. This module does not import torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from bessemer.recipe.settings import Settings

ObjectiveName = Literal["causal", "masked", "fill_in_the_middle"]


class ObjectiveSettings(Settings):
    objective: ObjectiveName | dict[ObjectiveName, PositiveFloat] = "causal"
    """Training objective: a single one, or several with their shares of rows (`{causal: 0.5, ...: 0.5}`)."""
    masking_ratio: float = Field(0.3, gt=0, lt=1)
    """Fraction of a row's tokens that the objective `masked` hides."""
    document_mask: bool = False
    """Whether tokens attend only to their own document, with the objective `causal`."""

    z_loss: NonNegativeFloat = 0.0
    """Weight of the squared logarithm of the softmax's denominator in the loss; 1e-5 keeps logits from drifting."""
    validation_tokens: PositiveInt = 131_072
    """Held-out tokens per measurement, in evenly spread windows; all held-out tokens if there are fewer."""

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if not self.objectives:
            raise ValueError("`objective` is empty; name at least one objective")
        for field, objective in (("document_mask", "causal"), ("masking_ratio", "masked")):
            if field in self.model_fields_set and objective not in self.objectives:
                raise ValueError(f"`{field}` needs the objective `{objective}`, which `objective` does not include")
        return self

    @property
    def objectives(self) -> dict[ObjectiveName, float]:
        """The share of each objective; they sum to 1."""
        shares = {self.objective: 1.0} if isinstance(self.objective, str) else self.objective
        return {name: shares[name] / sum(shares.values()) for name in sorted(shares)}

    def resolved(self) -> dict[str, Any]:
        """The value of `TrainingPlan.objective`."""
        return {
            "shares": self.objectives,
            "masking_ratio": self.masking_ratio,
            "document_mask": self.document_mask,
            "z_loss": self.z_loss,
        }

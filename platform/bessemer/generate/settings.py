"""Settings of text generation."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints

from bessemer.recipe.settings import Settings


class GenerationSettings(Settings):
    """The settings of a request. The text depends on the prompt and these settings, not on the rest of the batch."""

    max_new_tokens: PositiveInt = 128
    """Maximum number of tokens to generate; the model's context may allow fewer."""
    temperature: float = Field(0.8, ge=0)
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: NonNegativeInt = 0
    """Samples from this many of the likeliest tokens; 0 means all tokens."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Samples from the likeliest tokens whose total probability reaches this value (nucleus sampling)."""
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """Texts that end the generation; they are not part of the result."""
    seed: NonNegativeInt = 0
    """Seed of the random numbers. If several requests share these settings, the seed increases by 1 per request."""

    def counted(self, count: int) -> list[Self]:
        """The settings of `count` requests, with seeds counted up from `seed`, so that equal prompts get new
        answers."""
        return [self.model_copy(update={"seed": self.seed + number}) for number in range(count)]

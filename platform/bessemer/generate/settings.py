"""How a text is continued."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints

from bessemer.recipe.settings import Settings


class GenerationSettings(Settings):
    """One request's settings; equal settings and prompt give equal text, and the rest of the batch changes nothing."""

    max_new_tokens: PositiveInt = 128
    """Tokens to generate at most; the model's context may allow fewer."""
    temperature: float = Field(0.8, ge=0)
    """Divides the logits; 0 takes the likeliest token every time."""
    top_k: NonNegativeInt = 0
    """Considers only this many of the likeliest tokens; 0 considers all."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Considers only the likeliest tokens that together have this probability (nucleus sampling)."""
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """Texts that end the continuation; they are not part of it."""
    seed: NonNegativeInt = 0
    """Seeds the random numbers. Several requests with one setting use this seed, the next number, and so on."""

    def counted(self, count: int) -> list[Self]:
        """The settings of `count` requests, with seeds counted from `seed`, so that equal prompts get other answers."""
        return [self.model_copy(update={"seed": self.seed + number}) for number in range(count)]

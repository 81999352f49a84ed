"""How a text is continued."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints

from bessemer.recipe.settings import Settings


class GenerationSettings(Settings):
    """One request's settings; equal settings and prompt give equal text, whatever else is in the batch."""

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
    """Where the random numbers begin."""

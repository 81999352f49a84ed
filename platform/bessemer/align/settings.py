"""What a recipe says about learning from preferences, in TRL's words. Free of torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat

from bessemer.recipe.settings import Settings


class Dpo(Settings):
    """Direct preference optimization: the preferred answer likelier, the other less, both against the start."""

    beta: PositiveFloat = 0.1
    """How strongly the model is held to where it started; smaller lets it go further."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """The chance that a pair is the wrong way round."""


class Ipo(Settings):
    """Identity preference optimization: DPO that aims at a margin and not beyond, so that it overfits less."""

    beta: PositiveFloat = 0.1
    """Half of one over the margin aimed at, in nats a token."""


class Kto(Settings):
    """Kahneman-Tversky optimization: from single thumbs, up or down; a pair is one of each."""

    beta: PositiveFloat = 0.1
    """How strongly the model is held to where it started."""
    desirable_weight: NonNegativeFloat = 1.0
    """Weight of thumbs up; raise it where they are few."""
    undesirable_weight: NonNegativeFloat = 1.0
    """Weight of thumbs down; raise it where they are few."""


class Orpo(Settings):
    """Odds ratio preference optimization: fine-tuning on the preferred answers and preferring them, in one."""

    beta: PositiveFloat = 0.1
    """Weight of preferring against fine-tuning."""


Method = Dpo | Ipo | Kto | Orpo
